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


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
  """Adds a bias [C] to x [..., C], in the dtype of x.

  The bias' gradient is summed in the bias' dtype: XLA would sum it in that of
  x, and thousands of bfloat16 terms lose most of what they add up to.
  """
  shape = (1,) * (x.ndim - 1) + (-1,)
  return x + bias.astype(x.dtype).reshape(shape)


def _add_bias(x, bias):
  return add_bias(x, bias), jnp.zeros((), bias.dtype)


def _add_bias_transposed(like, cotangent):
  axes = tuple(range(cotangent.ndim - 1))
  return cotangent, jnp.sum(cotangent.astype(like.dtype), axis=axes)


add_bias.defvjp(_add_bias, _add_bias_transposed)
