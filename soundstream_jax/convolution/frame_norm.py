"""Layer norm of each frame, in few passes over memory.

A norm costs no arithmetic that counts: it costs reads and writes of its input,
which in the STFT discriminator is the largest array there is. So the sums of the
forward pass, and those of the backward one, are each taken in one pass, and the
activation after the norm is part of it: its slope follows from the norm's input.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from soundstream_jax import precision

Array = jax.Array

EPSILON = 1e-5


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(
  x: Array, scale: Array, bias: Array, then: Callable[[Array], Array]
) -> Array:
  """Returns x less its mean, over its standard deviation, times scale plus bias.

  Mean and deviation are those of a frame, over all axes but the first two; in
  float32, as the sums of the gradients.

  Args:
    x: [B, N, F, C].
    scale: [1, 1, 1, C].
    bias: [1, 1, 1, C].
    then: applied to the result, a function of single numbers.

  Returns:
    In the dtype of x.
  """
  return _forward(x, scale, bias, then)[0]


def _forward(x, scale, bias, then):
  # A value of the frame is nearer to its mean than zero is: the difference of
  # two sums then loses little.
  near = precision.widened(x[:, :, :1, :1])
  apart = precision.widened(x) - near
  mean = _mean(apart)
  variance = jnp.maximum(_mean(jnp.square(apart)) - jnp.square(mean), 0)
  rate = jax.lax.rsqrt(variance + EPSILON)
  mean = near + mean
  y = _scaled(x, mean, rate, scale, bias)
  return then(y), (x, mean, rate, scale, bias)


def _backward(then, saved, cotangent):
  x, mean, rate, scale, bias = saved
  _, pull = jax.vjp(then, _scaled(x, mean, rate, scale, bias))
  above = precision.widened(pull(cotangent)[0])
  apart = precision.widened(x) - mean
  # All other sums are made of these two, [B, N, 1, C].
  sums = jnp.sum(above, axis=2, keepdims=True)
  products = rate * jnp.sum(above * apart, axis=2, keepdims=True)
  size = x.shape[2] * x.shape[3]
  along = jnp.sum(scale * sums, axis=3, keepdims=True) / size
  across = rate * jnp.sum(scale * products, axis=3, keepdims=True) / size
  slope = rate * (scale * above - along - apart * across)
  return (
    slope.astype(x.dtype),
    jnp.sum(products, axis=(0, 1), keepdims=True),
    jnp.sum(sums, axis=(0, 1), keepdims=True),
  )


normalise.defvjp(_forward, _backward)


def _scaled(x, mean, rate, scale, bias):
  y = (precision.widened(x) - mean) * rate * scale + bias
  return y.astype(x.dtype)


def _mean(x):
  return jnp.mean(x, axis=(2, 3), keepdims=True)
