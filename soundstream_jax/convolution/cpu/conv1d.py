"""Convolutions over one axis, computed as those of an image of height one.

On a CPU XLA hands a convolution over one axis to Eigen, which is built for AVX
and computes many at once, all on all threads: those of a training step that do
not wait for each other then push each other out of the caches. One over two
axes goes to YNNPACK, which uses the processor's widest vectors, on one layer
after the other. Toward a kernel Eigen stays the faster one.
"""

import functools

import jax
from jax import lax

Array = jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
  x: Array, kernel: Array, padding: tuple[int, int], dilation: int = 1
) -> Array:
  """Convolution of x [B, 1, T, in] with kernel [k, in, out], stride 1.

  Args:
    padding: zeros before and after.
    dilation: distance between taps, in samples.

  Returns:
    [B, 1, T + sum(padding) - (k - 1) * dilation, out].
  """
  return as_image(x, kernel, padding, dilation)


def as_image(
  x: Array, kernel: Array, padding: tuple[int, int], dilation: int = 1
) -> Array:
  """The same, with XLA's own gradients."""
  return lax.conv_general_dilated(
    x,
    kernel[None],
    window_strides=(1, 1),
    padding=((0, 0), padding),
    rhs_dilation=(1, dilation),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def as_line(
  x: Array, kernel: Array, padding: tuple[int, int], dilation: int = 1
) -> Array:
  """The same of x [B, T, in], as XLA's convolution over one axis."""
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1,),
    padding=(padding,),
    rhs_dilation=(dilation,),
    dimension_numbers=("NWC", "WIO", "NWC"),
  )


def _forward(x, kernel, padding, dilation):
  return convolve(x, kernel, padding, dilation), (x, kernel)


def _backward(padding, dilation, saved, cotangent):
  x, kernel = saved
  (slope,) = jax.linear_transpose(
    lambda x: as_image(x, kernel, padding, dilation), x
  )(cotangent)
  (kernel_slope,) = jax.linear_transpose(
    lambda kernel: as_line(x[:, 0], kernel, padding, dilation), kernel
  )(cotangent[:, 0])
  return slope, kernel_slope


convolve.defvjp(_forward, _backward)
