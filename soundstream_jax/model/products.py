"""Convolutions whose kernels' gradients are products, for speed on a CPU.

XLA's own gradient of a kernel transposes both sides first, and computes again,
value by value, what lies before the input.
"""

import functools

import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.model import rows

Array = jax.Array

# A product over this many times more positions of a clip than it has rows is
# computed clip by clip, on several threads. Measured on a CPU.
TALL = 8


def over_positions(x: Array, y: Array) -> Array:
  """Sums x [B, M, in] times y [B, M, out] over clips and positions.

  Returns:
    [in, out].
  """
  wide = precision.of_parameters(x.dtype)  # to sum in
  if x.shape[1] > TALL * x.shape[2]:
    slope = jnp.einsum("bmi,bmo->bio", x, y, preferred_element_type=wide)
    return slope.sum(0).astype(x.dtype)
  # As matrices: of two summed axes XLA makes a slower product.
  x, y = (a.reshape(-1, a.shape[-1]) for a in (x, y))
  slope = jnp.einsum("mi,mo->io", x, y, preferred_element_type=wide)
  return slope.astype(x.dtype)


@jax.custom_vjp
def pointwise(x: Array, kernel: Array) -> Array:
  """x [B, T, in] times a kernel [in, out]: a convolution with one tap."""
  return jnp.einsum("bti,io->bto", x, kernel)


def _pointwise_forward(x, kernel):
  return pointwise(x, kernel), (x, kernel)


def _pointwise_backward(saved, cotangent):
  x, kernel = saved
  slope = jnp.einsum("bto,io->bti", cotangent, kernel)
  return slope, over_positions(x, cotangent)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def two_taps(x: Array, kernel: Array, as_row: bool) -> Array:
  """Causal convolution of x [B, T, in] with a kernel [2, in, out].

  Args:
    as_row: forward and toward x as a plane of one row (see `rows`).

  Returns:
    [B, T, out].
  """
  return _convolved(x, kernel, as_row)


def _convolved(x, kernel, as_row):
  return (rows.as_row if as_row else rows.as_line)(x, kernel, (1, 0))


def _two_taps_forward(x, kernel, as_row):
  return two_taps(x, kernel, as_row), (x, kernel)


def _two_taps_backward(as_row, saved, cotangent):
  """The narrower side meets the other twice, side by side."""
  x, kernel = saved
  (slope,) = jax.linear_transpose(lambda x: _convolved(x, kernel, as_row), x)(
    cotangent
  )
  inputs, outputs = kernel.shape[1:]
  if inputs < outputs:
    before = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    pair = jnp.concatenate([before, x], axis=-1)
    return slope, over_positions(pair, cotangent).reshape(kernel.shape)
  after = jnp.pad(cotangent, ((0, 0), (0, 1), (0, 0)))[:, 1:]
  pair = jnp.concatenate([after, cotangent], axis=-1)
  both = over_positions(x, pair).reshape(inputs, 2, outputs)
  return slope, both.swapaxes(0, 1)


two_taps.defvjp(_two_taps_forward, _two_taps_backward)
