"""Convolutions over two axes, with gradients that suit a CPU.

XLA computes the gradient of a kernel as a convolution whose kernel is as large
as the plane, which takes three to five times as long as one product per tap.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from soundstream_jax.model import strides as strides_lib

# Planes with more inputs than this, folded, are left to XLA's strided form,
# which is then the faster one.
WIDE_PLANE = 32
# Up to this many weights to an output, a kernel's gradient is one product.
# Both measured on a CPU.
FEW_COLUMNS = 128


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x, kernel, strides, padding):
  """Two axes: XLA's own forward form, and gradients that it has none for."""
  inputs = math.prod(strides) * kernel.shape[-2]
  if strides_lib.is_narrow(kernel) or inputs <= WIDE_PLANE:
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
  return slope, _kernel_slope(x, kernel, strides, padding, cotangent)


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
    cotangent, kernel, strides=(1,) * len(size), padding=around
  )


def _kernel_slope(x, kernel, strides, padding, cotangent):
  """The gradient of a kernel, as one product per tap.

  XLA's form, a convolution whose kernel is as large as the plane, runs at a
  tenth of the rate. If all taps have few inputs together, one product does.
  """
  *size, inputs, outputs = kernel.shape
  x = strides_lib.pad(x, [(0, 0), *padding, (0, 0)])
  cotangent_rows = cotangent.reshape(-1, outputs)
  taps = []
  for tap in np.ndindex(*size):
    ends = [
      start + stride * (length - 1) + 1
      for start, stride, length in zip(
        tap, strides, cotangent.shape[1:-1], strict=True
      )
    ]
    met = lax.slice(x, (0, *tap, 0), (len(x), *ends, inputs), (1, *strides, 1))
    taps.append(met.reshape(-1, inputs))
  if len(taps) * inputs <= FEW_COLUMNS:
    taps = [jnp.concatenate(taps, axis=1)]
  slopes = [jnp.einsum("mi,mo->io", rows, cotangent_rows) for rows in taps]
  return jnp.concatenate(slopes).reshape(kernel.shape)
