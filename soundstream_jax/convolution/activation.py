"""ELU for CPUs, where XLA's is slow."""

import jax
import jax.numpy as jnp

from soundstream_jax import precision

Array = jax.Array


@jax.custom_vjp
def elu(x: Array) -> Array:
  """The same as `flax.linen.elu` to 1e-7, in half its time or less.

  XLA for CPUs has a slow expm1, slower by ten where loops do not turn into
  vectors. What the difference loses of small values is below the rounding of
  the sums that they are terms of, in float32 at least. The slope follows from
  the value, which the next layer keeps anyway: that before it need not be kept.
  """
  wide = precision.widened(x)
  y = jnp.where(wide > 0, wide, jnp.exp(jnp.minimum(wide, 0)) - 1)
  return y.astype(x.dtype)


def _forward(x):
  y = elu(x)
  return y, y


def _backward(y, cotangent):
  slope = jnp.minimum(precision.widened(y), 0) + 1
  return ((precision.widened(cotangent) * slope).astype(y.dtype),)


elu.defvjp(_forward, _backward)
