"""Multi-scale spectral reconstruction loss (paper equations 4 and 5).

For a window of s samples and a hop of s / 4, S is the mel magnitude of
audio/spectral.py and alpha_s = sqrt(s / 2). The paper prints, per frame,

    sum_bins |S - S'|  +  alpha_s * sqrt(sum_bins (log S - log S')^2),

summed over frames. Here frames are averaged, and so are bins (mean instead of
sum, rms instead of norm): the loss does not depend on length or bins, and a
scale with many frames does not outweigh one with few. Dividing the printed
line by the number of bins leaves the log term the factor

    alpha_s / sqrt(bins),

0.71 at s = 64 to 4 at s = 2048 for 64 bins. Scales are summed, as printed.
The paper gives no mel range, STFT window, or floor of the logarithm: 0 Hz to
Nyquist, periodic Hann and 1e-4 (in S, through spectral.POWER_FLOOR) are ours.
"""

import math
from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.audio import spectral

# Inside the rms over bins, whose slope would be infinite at equal spectra.
_MEAN_SQUARE_FLOOR = 1e-12


@flax.struct.dataclass
class Distance:
  """Both terms of the loss, summed over scales; their sum is the loss."""

  linear: jax.Array  # [], mean |S - S'|
  log: jax.Array  # [], alpha_s / sqrt(bins) * rms of log S - log S'

  @property
  def total(self) -> jax.Array:
    return self.linear + self.log


def distance(
  target: jax.Array,
  prediction: jax.Array,
  *,
  sample_rate_hz: int,
  windows: Sequence[int],
  mel_bins: int,
) -> Distance:
  """Compares waveforms [B, T, 1] at every window; float32 for any dtype.

  Zero for equal waveforms, with finite gradients there and at silence.

  Raises:
    ValueError: the audio is shorter than the longest window.
  """
  dtype = precision.of_parameters(target.dtype)
  linear = jnp.zeros((), dtype)
  log = jnp.zeros((), dtype)
  for window in windows:
    expected, actual = (
      spectral.mel_spectrogram(
        audio[:, :, 0],
        sample_rate_hz=sample_rate_hz,
        window=window,
        hop=window // 4,
        bins=mel_bins,
      )
      for audio in (target, prediction)
    )
    log_weight = math.sqrt(window / 2) / math.sqrt(mel_bins)
    linear += jnp.mean(jnp.abs(expected - actual))
    difference = jnp.log(expected) - jnp.log(actual)
    log += log_weight * jnp.mean(_rms(difference))
  return Distance(linear=linear, log=log)


def _rms(x: jax.Array) -> jax.Array:
  """Root mean square over the last axis: exactly 0, and smooth, at 0."""
  mean_square = jnp.mean(jnp.square(x), axis=-1)
  # sqrt(m + floor) - sqrt(floor), written without the cancellation.
  return mean_square / (
    jnp.sqrt(mean_square + _MEAN_SQUARE_FLOOR) + math.sqrt(_MEAN_SQUARE_FLOOR)
  )
