"""Convolutions whose kernels' gradients are products, for speed on a CPU.

XLA's own gradient of a kernel transposes both sides first, and computes again,
value by value, what lies before the input.
"""

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax import precision
from soundstream_jax.convolution.cpu import conv1d

Array = jax.Array

# A product over this many times more positions of a clip than it has lines is
# computed clip by clip, on several threads. Measured on a CPU.
TALL = 8


def over_positions(x: Array, y: Array) -> Array:
  """Sums x [B, ..., M, in] times y [B, ..., M, out] over clips and positions.

  Returns:
    [in, out].
  """
  wide = precision.of_parameters(x.dtype)  # to sum in
  x, y = (a.reshape(a.shape[0], -1, a.shape[-1]) for a in (x, y))
  if x.shape[1] > TALL * x.shape[2]:
    slope = jnp.einsum("bmi,bmo->bio", x, y, preferred_element_type=wide)
    return slope.sum(0).astype(x.dtype)
  # As matrices: of two summed axes XLA makes a slower product.
  x, y = (a.reshape(-1, a.shape[-1]) for a in (x, y))
  slope = jnp.einsum("mi,mo->io", x, y, preferred_element_type=wide)
  return slope.astype(x.dtype)


@jax.custom_vjp
def pointwise(x: Array, kernel: Array) -> Array:
  """x [..., in] times a kernel [in, out]: a convolution with one tap."""
  return jnp.einsum("...i,io->...o", x, kernel)


def _pointwise_forward(x, kernel):
  return pointwise(x, kernel), (x, kernel)


def _pointwise_backward(saved, cotangent):
  x, kernel = saved
  slope = jnp.einsum("...o,io->...i", cotangent, kernel)
  return slope, over_positions(x, cotangent)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)


@jax.custom_vjp
def two_taps(x: Array, kernel: Array) -> Array:
  """Causal convolution of x [B, T, in] with a kernel [2, in, out].

  Of x [B, 1, T, in] as an image, forward and toward x (see `conv1d`).

  Returns:
    [B, T, out], or [B, 1, T, out].
  """
  return _convolved(x, kernel)


def _convolved(x, kernel):
  compute = conv1d.as_image if x.ndim == 4 else conv1d.as_line
  return compute(x, kernel, (1, 0))


def _two_taps_forward(x, kernel):
  return two_taps(x, kernel), (x, kernel)


def _two_taps_backward(saved, cotangent):
  """The narrower side meets the other twice, side by side."""
  x, kernel = saved
  (slope,) = jax.linear_transpose(lambda x: _convolved(x, kernel), x)(cotangent)
  inputs, outputs = kernel.shape[1:]
  if inputs < outputs:
    pair = jnp.concatenate([_shifted(x, 1), x], axis=-1)
    return slope, over_positions(pair, cotangent).reshape(kernel.shape)
  pair = jnp.concatenate([_shifted(cotangent, -1), cotangent], axis=-1)
  both = over_positions(x, pair).reshape(inputs, 2, outputs)
  return slope, both.swapaxes(0, 1)


two_taps.defvjp(_two_taps_forward, _two_taps_backward)


def _shifted(x, steps):
  """x [..., M, C] later by `steps`, zeros where nothing comes from."""
  zero = jnp.zeros((), x.dtype)
  around = [(0, 0, 0)] * (x.ndim - 2) + [(steps, -steps, 0), (0, 0, 0)]
  return lax.pad(x, zero, around)
