"""Dilated convolutions as undilated ones down the columns of rows.

Samples in rows of d stand under those that are d apart: a dilation of d becomes a
step from row to row. The view costs nothing; a clip is padded to whole rows.
"""

import jax
from jax import lax

from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array


def zeros(spec: spec_lib.Spec, length: int) -> tuple[int, int]:
  """Returns how many zeros stand before and after the dilated axis."""
  before, after = spec.padding[-1]
  outputs = length + before + after - spec.span + 1
  rows = -(-outputs // spec.dilation) + spec.kernel[-1] - 1
  return before, rows * spec.dilation - length - before


def convolve(
  x: Array, kernel: Array, spec: spec_lib.Spec, outputs: int
) -> Array:
  """x [B, *lead, T, in] with kernel [*k, in, out] -> [B, *lead', outputs, out].

  Without bias and groups. A stride of the dilated axis drops outputs that were
  computed: no network here has both.

  Args:
    x: with its `zeros`.
    kernel: of the dilated convolution.
    spec: what to compute.
    outputs: of the dilated axis.
  """
  x = x.reshape(*x.shape[:-2], -1, spec.dilation, x.shape[-1])
  letters = "DHW"[-spec.axes - 1 :]
  y = lax.conv_general_dilated(
    x,
    kernel[..., None, :, :],
    window_strides=(*spec.strides[:-1], 1, 1),
    padding=(*spec.padding[:-1], (0, 0), (0, 0)),
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
  )
  y = y.reshape(*y.shape[:-3], -1, y.shape[-1])
  end = (outputs - 1) * spec.stride + 1
  return lax.slice_in_dim(y, 0, end, stride=spec.stride, axis=y.ndim - 2)
