"""Error of the waveform itself, which spectra of magnitudes leave open.

Not in the paper, whose losses hold phases through discriminators alone. For
enhancement by small models, where the output should stay in step with the
clean speech.
"""

import jax
import jax.numpy as jnp

# Relative to full scale, -60 dB: what is quieter is not worth reproducing.
_FLOOR_POWER = 1e-6


def log_error(target: jax.Array, prediction: jax.Array) -> jax.Array:
  """Mean over examples of log(error power / target power), a scalar.

  The signal-to-noise ratio, negative and in nepers of power: 4.34 dB each. A
  floor under both powers keeps silence from asking for perfection.

  Args:
    target: float32 [B, T, 1].
    prediction: float32 [B, T, 1].
  """
  error = jnp.mean(jnp.square(prediction - target), axis=(1, 2))
  power = jnp.mean(jnp.square(target), axis=(1, 2))
  return jnp.mean(jnp.log((error + _FLOOR_POWER) / (power + _FLOOR_POWER)))
