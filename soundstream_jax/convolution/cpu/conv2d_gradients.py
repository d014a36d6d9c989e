"""Convolutions over two axes, with gradients that suit a CPU.

XLA computes the gradient of a kernel as a convolution whose kernel is as large
as the plane, which takes many times as long as one product over all positions.
A plane without strides is padded before it is convolved: padding within costs
XLA's convolution a quarter of its speed.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax.convolution.cpu import kernel_gradients as products
from soundstream_jax.convolution.cpu import strides as strides_lib

# Planes with more inputs than this, folded, are left to XLA's strided form,
# which is then the faster one. Measured on a CPU.
WIDE_PLANE = 32
# Planes with no more inputs than this have their kernel's gradient by lines.
FEW_INPUTS = 8


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
  if max(strides) == 1 and kernel.shape[-2] <= FEW_INPUTS:
    return slope, _kernel_slope_by_lines(x, kernel, padding, cotangent)
  return slope, _kernel_slope_by_taps(x, kernel, strides, padding, cotangent)


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


def _kernel_slope_by_lines(x, kernel, padding, cotangent):
  """The gradient of a kernel without strides, as one over the last axis.

  The lines that a tap of the first axis meets become channels of one input.
  """
  height, width, inputs, outputs = kernel.shape
  batch, lines, columns, _ = cotangent.shape
  x = strides_lib.pad(x, [(0, 0), *padding, (0, 0)])
  x = jnp.concatenate([x[:, tap : tap + lines] for tap in range(height)], -1)
  x = x.reshape(batch * lines, columns + width - 1, height * inputs)
  (slope,) = jax.linear_transpose(
    lambda kernel: strides_lib.as_is(
      x, kernel, strides=(1,), padding=((0, 0),)
    ),
    jax.ShapeDtypeStruct((width, height * inputs, outputs), kernel.dtype),
  )(cotangent.reshape(batch * lines, columns, outputs))
  return slope.reshape(width, height, inputs, outputs).swapaxes(0, 1)


def _kernel_slope_by_taps(x, kernel, strides, padding, cotangent):
  """The gradient of a kernel, as one product that has all taps at once.

  The lines that taps of the first axis meet become channels of the input; the
  columns that meet taps of the last axis, in steps of its stride, channels of
  the cotangent. So both are copied few times, and the product is near square.
  """
  height, width, inputs, outputs = kernel.shape
  batch, lines, columns, _ = cotangent.shape
  down, across = strides
  taps = -(-width // across)
  met = columns + taps - 1
  after = met * across - x.shape[2] - padding[1][0]
  x = strides_lib.pad(x, [(0, 0), padding[0], (padding[1][0], after), (0, 0)])
  x = x.reshape(batch, x.shape[1], met, across * inputs)
  x = _taken(x, down * np.arange(lines)[:, None] + np.arange(height), axis=1)
  x = x.swapaxes(2, 3).reshape(batch, lines * met, height * across * inputs)
  edge = (taps - 1, taps - 1)
  cotangent = strides_lib.pad(cotangent, [(0, 0), (0, 0), edge, (0, 0)])
  cotangent = _taken(
    cotangent, np.arange(met)[:, None] + np.arange(taps)[::-1], axis=2
  )
  cotangent = cotangent.reshape(batch, lines * met, taps * outputs)
  slope = products.over_positions(x, cotangent)
  slope = slope.reshape(height, across, inputs, taps, outputs)
  slope = slope.transpose(0, 3, 1, 2, 4)
  return slope.reshape(height, taps * across, inputs, outputs)[:, :width]


def _taken(x, places, axis):
  """x at increasing places [n, m] of an axis, which becomes two of these."""
  if places.shape == (x.shape[axis], 1):
    return jnp.expand_dims(x, axis + 1)
  return jnp.take(x, places, axis=axis, mode="clip")
