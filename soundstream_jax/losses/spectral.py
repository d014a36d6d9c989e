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

d log S = dS / S: in bands as quiet as that floor the log term's slope is
10,000 times the linear one's, so that it decides the gradient. A floor of one's
own is added as power to S in the logarithm alone; the linear term keeps S.
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

# Of S, and so the least of its logarithm.
LEAST_LOG_FLOOR = math.sqrt(spectral.POWER_FLOOR)


@flax.struct.dataclass
class Distance:
  """Both terms of the loss, summed over scales; in the paper it is their sum."""

  linear: jax.Array  # [], mean |S - S'|
  log: jax.Array  # [], alpha_s / sqrt(bins) * rms of log S - log S'

  @property
  def total(self) -> jax.Array:
    return self.weighted(1.0, 1.0)

  def weighted(self, linear_weight: float, log_weight: float) -> jax.Array:
    """Returns their weighted sum; a weight of 1 multiplies nothing."""
    linear, log = (
      term if weight == 1 else weight * term
      for term, weight in ((self.linear, linear_weight), (self.log, log_weight))
    )
    return linear + log


def distance(
  target: jax.Array,
  prediction: jax.Array,
  *,
  sample_rate_hz: int,
  windows: Sequence[int],
  mel_bins: Sequence[int],
  log_floor: float = LEAST_LOG_FLOOR,
) -> Distance:
  """Compares waveforms [B, T, 1] at every window; float32 for any dtype.

  Zero for equal waveforms, with finite gradients there and at silence.

  Args:
    target: what it should be.
    prediction: what it is.
    sample_rate_hz: of both.
    windows: in samples; the hop is a quarter.
    mel_bins: of each window.
    log_floor: of S in the logarithm, LEAST_LOG_FLOOR or more.

  Raises:
    ValueError: the audio is shorter than the longest window.
  """
  dtype = precision.of_parameters(target.dtype)
  linear = jnp.zeros((), dtype)
  log = jnp.zeros((), dtype)
  for window, bins in zip(windows, mel_bins, strict=True):
    expected, actual = (
      spectral.mel_spectrogram(
        audio[:, :, 0],
        sample_rate_hz=sample_rate_hz,
        window=window,
        hop=window // 4,
        bins=bins,
      )
      for audio in (target, prediction)
    )
    log_weight = math.sqrt(window / 2) / math.sqrt(bins)
    linear += jnp.mean(jnp.abs(expected - actual))
    difference = _log(expected, log_floor) - _log(actual, log_floor)
    log += log_weight * jnp.mean(_rms(difference))
  return Distance(linear=linear, log=log)


def _log(magnitudes: jax.Array, floor: float) -> jax.Array:
  """Returns log sqrt(S^2 + what lifts its least value to the floor)."""
  if floor <= LEAST_LOG_FLOOR:  # which S has already
    return jnp.log(magnitudes)
  lift = floor**2 - spectral.POWER_FLOOR
  return 0.5 * jnp.log(jnp.square(magnitudes) + lift)


def _rms(x: jax.Array) -> jax.Array:
  """Root mean square over the last axis: exactly 0, and smooth, at 0."""
  mean_square = jnp.mean(jnp.square(x), axis=-1)
  # sqrt(m + floor) - sqrt(floor), written without the cancellation.
  return mean_square / (
    jnp.sqrt(mean_square + _MEAN_SQUARE_FLOOR) + math.sqrt(_MEAN_SQUARE_FLOOR)
  )
