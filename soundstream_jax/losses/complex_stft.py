"""Error of complex spectra, which have the phases that magnitudes leave out.

Not in the paper. Others that settle phases by spectra compare real and
imaginary parts too: APNet and APCodec (arXiv 2305.07952, 2402.10533), and ESC
(arXiv 2404.19441), which compresses their magnitudes first. Here, for one
example and one window, with X and X' the STFTs of target and prediction,

    d  =  mean |X - X'| / (mean |X| + floor),      loss  =  log(1 + d),

means over frames and frequencies; then the mean over windows and examples.

* |X - X'| is the length of the complex difference, not its square: by Parseval
  squares would sum to the waveform's own error, whatever the window, and that
  the loudest partials decide. Lengths give quiet frequencies more of a say, yet
  not as much as the loud: what a codec of few bits cannot have the phase of,
  such as the noise of high bands, is cheapest left out, and a loss that divided
  each band by its own level would ask for that.
* Divided by the example's own mean, d has no unit and no level. It is 0 where
  both are equal, 1 for silence, |1 - g| for a gain of g, 2 |sin(p / 2)| for all
  phases turned by p, 4 / pi for random ones. So a weight means the same for a
  loud and a quiet example, in speech and music.
* The logarithm bounds the slope by the error: with the ratio alone, a silent
  target would pull at a loud output a hundred times harder than others do.

The floor, noise at -60 dB of full scale as in losses/waveform.py, keeps silence
from asking for perfection.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax.audio import spectral

# Relative to full scale: mean magnitudes of noise at -60 dB, near enough.
_FLOOR = 1e-3
# Inside the length of a difference, whose slope has no direction at 0.
_SQUARE_FLOOR = 1e-10


def log_error(
  target: jax.Array, prediction: jax.Array, *, windows: Sequence[int]
) -> jax.Array:
  """Mean over windows and examples of log(1 + d), a scalar.

  Exactly 0 for equal audio, with finite gradients there and at silence.

  Args:
    target: [B, T, 1]; float32 for any dtype.
    prediction: [B, T, 1].
    windows: in samples; the hop is a quarter.

  Raises:
    ValueError: the audio is shorter than the longest window.
  """
  errors = []
  for window in windows:
    # Of a noise, magnitudes are then its samples' rms, whatever the window.
    gain = 1.0 / float(np.linalg.norm(spectral.hann(window)))
    expected, actual = (
      gain * spectral.stft(audio[:, :, 0], window=window, hop=window // 4)
      for audio in (target, prediction)
    )
    error = jnp.mean(_length(actual - expected), axis=(1, 2))
    level = jnp.mean(_length(expected), axis=(1, 2))
    errors.append(jnp.mean(jnp.log1p(error / (level + _FLOOR))))
  return jnp.mean(jnp.stack(errors))


def _length(x: jax.Array) -> jax.Array:
  """Modulus of complex numbers: exactly 0, and smooth, at 0."""
  square = jnp.square(x.real) + jnp.square(x.imag)
  # sqrt(s + floor) - sqrt(floor), written without the cancellation.
  return square / (jnp.sqrt(square + _SQUARE_FLOOR) + math.sqrt(_SQUARE_FLOOR))
