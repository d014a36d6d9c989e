"""How wide numbers are: float32 wherever it counts, float64 in tests of laws.

Convolutions run in config.model.compute_dtype. Parameters, codebooks,
distances, spectra, losses and averages are float32 for bfloat16 and float32.
With float64 all of it is float64: rounding is then small enough to tell an
algorithm that depends on the number of devices from one that does not.
"""

import jax
import jax.numpy as jnp


def of_parameters(compute_dtype) -> jnp.dtype:
  """Returns float32, or float64 where convolutions are float64."""
  wide = jnp.dtype(compute_dtype) == jnp.float64
  return jnp.dtype(jnp.float64 if wide else jnp.float32)


def widened(x: jax.Array) -> jax.Array:
  """Returns x in float32, or in float64 where it is that already."""
  return x.astype(of_parameters(x.dtype))
