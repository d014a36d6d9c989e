"""The activation snake: a line with ripples, whose width each channel learns.

x + sin^2(a x) / a, after Ziyin et al., "Neural networks fail to learn periodic
functions and how to fix it" (arXiv 2006.08195). An a for each channel, linear
and learnt, is DAC's (arXiv 2306.06546).
"""

import jax
import jax.numpy as jnp

from soundstream_jax import precision

Array = jax.Array

# An a nearer to zero divides as if it were this: the quotient, about a x^2, is
# nothing there, and stays finite.
SMALLEST = 1e-6


@jax.custom_vjp
def snake(x: Array, alpha: Array) -> Array:
  """Returns the activation of x, in its dtype.

  Computed in the precision of parameters, in which the gradient of alpha is
  summed, too. For the gradient x alone is kept: XLA would keep a sine and a
  cosine beside it.

  Args:
    x: values of any layout.
    alpha: a, of as many axes, as it broadcasts over x.
  """
  wide = precision.widened(x)
  y = wide + jnp.square(jnp.sin(alpha * wide)) * _reciprocal(alpha)
  return y.astype(x.dtype)


def _forward(x, alpha):
  return snake(x, alpha), (x, alpha)


def _backward(saved, cotangent):
  x, alpha = saved
  wide, above = precision.widened(x), precision.widened(cotangent)
  once = _reciprocal(alpha)
  # sin(2 a x): the slope of sin^2, over a.
  slope = jnp.sin(2 * alpha * wide)
  of_alpha = above * (wide * slope - jnp.square(jnp.sin(alpha * wide)) * once)
  axes = tuple(
    axis for axis, length in enumerate(alpha.shape) if length != x.shape[axis]
  )
  return (
    (above * (1 + slope)).astype(x.dtype),
    jnp.sum(of_alpha, axis=axes, keepdims=True) * once,
  )


snake.defvjp(_forward, _backward)


def _reciprocal(alpha: Array) -> Array:
  return 1 / jnp.where(jnp.abs(alpha) < SMALLEST, SMALLEST, alpha)
