"""Dilated convolutions as undilated ones down the columns of rows.

Samples in rows of d stand under those that are d apart: a dilation of d becomes a
step from row to row. The view costs nothing; a clip is padded to whole rows.
"""

import jax
from jax import lax

from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array


def convolve(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """x [B, *lead, T, in] with kernel [*k, in, out] -> [B, *lead', T', out].

  Without bias and groups. A stride of the dilated axis drops outputs that were
  computed: no network here has both.
  """
  before, after = spec.padding[-1]
  taps, width, lead = spec.kernel[-1], spec.dilation, spec.axes - 1
  outputs = x.shape[-2] + before + after - spec.span + 1
  height = -(-outputs // width) + taps - 1
  rest = height * width - x.shape[-2] - before
  none = (0, 0, 0)
  zero = lax.full((), 0, x.dtype)
  x = lax.pad(x, zero, [*[none] * (lead + 1), (before, rest, 0), none])
  x = x.reshape(*x.shape[:-2], height, width, x.shape[-1])
  letters = "DHW"[-spec.axes - 1 :]
  y = lax.conv_general_dilated(
    x,
    kernel[..., None, :, :],
    window_strides=(*spec.strides[:-1], 1, 1),
    padding=(*spec.padding[:-1], (0, 0), (0, 0)),
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
  )
  y = y.reshape(*y.shape[:-3], -1, y.shape[-1])
  return lax.slice_in_dim(y, 0, outputs, stride=spec.stride, axis=y.ndim - 2)
