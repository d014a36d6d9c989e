"""ELU whose slope follows from its value, so that its input need not be kept."""

import jax
import jax.numpy as jnp
from jax import lax

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


@jax.custom_vjp
def elu_written_once(x: Array) -> Array:
  """The same, whose value is an array in memory.

  XLA for GPUs would otherwise keep x beside it, to compute the value again where
  the gradient needs it.
  """
  return lax.optimization_barrier(elu(x))


def _forward_written_once(x):
  y = elu_written_once(x)
  return y, y


elu_written_once.defvjp(_forward_written_once, _backward)
