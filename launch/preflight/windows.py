"""Counts what a convolution multiplies: pairs of a tap and an element."""

import numpy as np


def valid_pairs(
  length: int,
  taps: int,
  outputs: int,
  *,
  stride: int = 1,
  low: int = 0,
  stretch: int = 1,
  spread: int = 1,
) -> int:
  """Pairs (output, tap) of one axis that meet an element of the input.

  Padding, and the zeros that dilation stands for, meet none.

  Args:
    length: of the input.
    taps: of the kernel.
    outputs: of the result.
    stride: from one output to the next.
    low: padding before the input.
    stretch: of the input, lhs_dilate.
    spread: of the kernel, rhs_dilate.
  """
  tap, output = np.arange(taps) * spread, np.arange(outputs) * stride - low
  few, many = sorted((tap, output), key=len)
  total = 0
  for offset in few:
    place = many + offset
    inside = (place >= 0) & (place <= (length - 1) * stretch)
    total += int(np.count_nonzero(inside & (place % stretch == 0)))
  return total
