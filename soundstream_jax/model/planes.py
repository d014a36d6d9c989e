"""Convolutions over two axes, with gradients that suit a CPU.

XLA computes the gradient of a kernel as a convolution whose kernel is as large
as the plane, which takes three to five times as long as one over one axis, or
as one product per tap. A plane without strides is padded before it is convolved:
padding within costs XLA's convolution a quarter of its speed.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.model import strides as strides_lib

# Planes with more inputs than this, folded, are left to XLA's strided form,
# which is then the faster one. Measured on a CPU.
WIDE_PLANE = 32


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x, kernel, strides, padding):
  """Two axes: XLA's own forward form, and gradients that it has none for."""
  inputs = math.prod(strides) * kernel.shape[-2]
  narrow = strides_lib.is_narrow(kernel) or inputs <= WIDE_PLANE
  if narrow or max(strides) == 1:
    return strides_lib.convolve(x, kernel, strides=strides, padding=padding)
  return strides_lib.as_is(x, kernel, strides=strides, padding=padding)


def _forward(x, kernel, strides, padding):
  return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, saved, cotangent):
  x, kernel = saved
  if max(strides) == 1:
    slope = _unstrided_slope(kernel, padding, cotangent)
  else:
    (slope,) = jax.linear_transpose(
      lambda x: strides_lib.convolve(
        x, kernel, strides=strides, padding=padding
      ),
      x,
    )(cotangent)
  if max(strides) == 1:
    return slope, _kernel_slope_by_rows(x, kernel, padding, cotangent)
  return slope, _kernel_slope_by_columns(x, kernel, strides, padding, cotangent)


convolve.defvjp(_forward, _backward)


def _unstrided_slope(kernel, padding, cotangent):
  """The gradient toward x, without those of the zeros around it."""
  size = kernel.shape[:-2]
  around = [
    (k - 1 - before, k - 1 - after)
    for k, (before, after) in zip(size, padding, strict=True)
  ]
  kernel = jnp.flip(kernel, range(len(size))).swapaxes(-1, -2)
  return strides_lib.as_is(
    strides_lib.pad(cotangent, [(0, 0), *around, (0, 0)]),
    kernel,
    strides=(1,) * len(size),
    padding=((0, 0),) * len(size),
  )


def _kernel_slope_by_rows(x, kernel, padding, cotangent):
  """The gradient of a kernel without strides, as one over the last axis.

  The rows that a tap of the first axis meets become channels of one input.
  """
  height, width, inputs, outputs = kernel.shape
  batch, rows, columns, _ = cotangent.shape
  x = strides_lib.pad(x, [(0, 0), *padding, (0, 0)])
  x = jnp.concatenate([x[:, tap : tap + rows] for tap in range(height)], -1)
  x = x.reshape(batch * rows, columns + width - 1, height * inputs)
  (slope,) = jax.linear_transpose(
    lambda kernel: strides_lib.as_is(
      x, kernel, strides=(1,), padding=((0, 0),)
    ),
    jax.ShapeDtypeStruct((width, height * inputs, outputs), kernel.dtype),
  )(cotangent.reshape(batch * rows, columns, outputs))
  return slope.reshape(width, height, inputs, outputs).swapaxes(0, 1)


def _kernel_slope_by_columns(x, kernel, strides, padding, cotangent):
  """The gradient of a kernel, as one product per tap of the last axis.

  The rows that a tap of the first axis meets become channels of one input, and
  the cotangent is transposed once: products read both sides as they lie.
  """
  height, width, inputs, outputs = kernel.shape
  rows, columns = cotangent.shape[1:3]
  x = strides_lib.pad(x, [(0, 0), *padding, (0, 0)])

  def met(x, tap, axis, length):
    end = tap + strides[axis - 1] * (length - 1) + 1
    return lax.slice_in_dim(x, tap, end, strides[axis - 1], axis)

  x = jnp.concatenate([met(x, tap, 1, rows) for tap in range(height)], -1)
  cotangent = lax.optimization_barrier(cotangent.reshape(-1, outputs).T)
  slopes = [
    cotangent @ met(x, tap, 2, columns).reshape(-1, height * inputs)
    for tap in range(width)
  ]
  slope = jnp.stack(slopes).reshape(width, outputs, height, inputs)
  return slope.transpose(2, 0, 3, 1)
