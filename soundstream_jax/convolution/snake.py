"""The activation snake: a line with ripples, whose width each channel learns.

x + sin^2(a x) / a, after Ziyin et al., "Neural networks fail to learn periodic
functions and how to fix it" (arXiv 2006.08195). An a for each channel, linear
and learnt, is DAC's (arXiv 2306.06546).
"""

import math

import jax
import jax.numpy as jnp

from soundstream_jax import precision

Array = jax.Array

# An a nearer to zero divides as if it were this: the quotient, about a x^2, is
# nothing there, and stays finite.
SMALLEST = 1e-6

# sin^2 t / r^2 and sin t cos t / r as polynomials in r^2, r in [-pi/2, pi/2] the
# distance of t from a multiple of pi, to 1e-9 (Chebyshev's nodes). With XLA's
# sine for CPUs the activation took four ELUs, and its gradient twelve; it takes
# less than one, and two or three.
_SQUARED = (
  0.9999999999,
  -0.3333333296,
  0.04444441996,
  -0.003174543377,
  0.0001410237738,
  -4.233659548e-06,
  8.133222143e-08,
)
_MIXED = (
  0.9999999993,
  -0.666666637,
  0.1333331403,
  -0.01269794093,
  0.0007049169793,
  -2.532199136e-05,
  5.575462829e-07,
)
# pi in two pieces; multiples of the first one are exact up to 2^16.
_PI = (201 / 64, math.pi - 201 / 64)


@jax.custom_vjp
def snake(x: Array, alpha: Array) -> Array:
  """Returns the activation of x, in its dtype.

  Computed in the precision of parameters, in which the gradient of alpha is
  summed, too. For the gradient x alone is kept: XLA would keep the ripples and
  their slope beside it.

  Args:
    x: values of any layout.
    alpha: a, of as many axes, as it broadcasts over x.
  """
  wide = precision.widened(x)
  y = wide + _ripple(alpha * wide)[0] * _reciprocal(alpha)
  return y.astype(x.dtype)


def _forward(x, alpha):
  return snake(x, alpha), (x, alpha)


def _backward(saved, cotangent):
  x, alpha = saved
  wide, above = precision.widened(x), precision.widened(cotangent)
  once = _reciprocal(alpha)
  squared, mixed = _ripple(alpha * wide)
  slope = 2 * mixed  # of sin^2(a x) / a
  of_alpha = above * (wide * slope - squared * once)
  axes = tuple(
    axis for axis, length in enumerate(alpha.shape) if length != x.shape[axis]
  )
  return (
    (above * (1 + slope)).astype(x.dtype),
    jnp.sum(of_alpha, axis=axes, keepdims=True) * once,
  )


snake.defvjp(_forward, _backward)


def _ripple(t: Array) -> tuple[Array, Array]:
  """Returns sin^2 t and sin t cos t."""
  periods = jnp.round(t * (1 / math.pi))
  r = t - periods * _PI[0] - periods * _PI[1]
  square = jnp.square(r)
  return square * _polynomial(_SQUARED, square), r * _polynomial(_MIXED, square)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
  total = jnp.full_like(x, coefficients[-1])
  for coefficient in coefficients[-2::-1]:
    total = total * x + coefficient
  return total


def _reciprocal(alpha: Array) -> Array:
  return 1 / jnp.where(jnp.abs(alpha) < SMALLEST, SMALLEST, alpha)
