"""Strided convolutions computed with stride 1, for speed on a CPU.

A stride s folds s neighbouring samples into the channels, and a kernel of k
becomes one of ceil(k / s) taps over s times as many channels. With few
channels, neighbouring outputs become channels of one.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

# Up to this many channels, neighbouring outputs are computed together.
# Measured on a CPU.
NARROW_CHANNELS = 16


def as_is(x, kernel, *, strides, padding, groups=1):
  """lax.conv_general_dilated, channels last, for one or two space axes."""
  letters = "HW"[-len(strides) :]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=strides,
    padding=padding,
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    feature_group_count=groups,
  )


def convolve(x, kernel, *, strides, padding, compute=as_is):
  """as_is, without strides, and with neighbouring outputs at once if narrow.

  Args:
    compute: what then computes `as_is`.
  """
  *size, _, outputs = kernel.shape
  space = [
    (x.shape[1 + i] + sum(padding[i]) - size[i]) // strides[i] + 1
    for i in range(len(strides))
  ]
  together = _together(kernel.shape)
  y, kernel = fold(
    x, kernel, strides=strides, padding=padding, groups=1, together=together
  )
  none = ((0, 0),) * len(strides)
  ones = (1,) * len(strides)
  y = compute(y, kernel, strides=ones, padding=none)
  if together > 1:
    y = y.reshape(x.shape[0], *space[:-1], -1, outputs)
    y = lax.slice_in_dim(y, 0, space[-1], axis=len(strides))
  return y


def is_narrow(kernel: jax.Array) -> bool:
  """Whether `convolve` computes neighbouring outputs at once."""
  return _together(kernel.shape) > 1


def _together(shape: Sequence[int]) -> int:
  *size, inputs, outputs = shape
  return max(1, NARROW_CHANNELS // max(inputs, outputs)) if size[-1] > 1 else 1


def fold(
  x: jax.Array,
  kernel: jax.Array,
  *,
  strides: Sequence[int],
  padding: Sequence[tuple[int, int]],
  groups: int,
  together: int = 1,
) -> tuple[jax.Array, jax.Array]:
  """Pads x and moves the strides of a convolution into its channels.

  Args:
    together: neighbouring outputs of the last space axis to compute as
      channels of one; more than 1 needs groups=1.

  Returns:
    x and kernel of the equal stride-1 convolution without padding. Input
    channels are ordered (group, phase within the stride, channel), outputs
    (neighbour, channel); the last neighbours may lie beyond the end.
  """
  batch, *space, channels = x.shape
  *size, inputs, outputs = kernel.shape
  axes = range(len(space))
  shifts = [0] * (len(space) - 1) + [strides[-1]]
  steps = [*strides[:-1], strides[-1] * together]
  spans = [size[i] + shifts[i] * (together - 1) for i in axes]
  taps = [-(-spans[i] // steps[i]) for i in axes]
  # Only whole steps that a tap reads are kept; the rest would be dropped.
  folded = [
    (space[i] + sum(padding[i]) - size[i]) // steps[i] + taps[i] for i in axes
  ]
  after = [folded[i] * steps[i] - space[i] - padding[i][0] for i in axes]
  x = pad(x, [(0, 0), *((padding[i][0], after[i]) for i in axes), (0, 0)])
  shifted = []
  for neighbour in range(together):
    before = [shift * neighbour for shift in shifts]
    after = [taps[i] * steps[i] - size[i] - before[i] for i in axes]
    shifted.append(
      pad(kernel, [*zip(before, after, strict=True), (0, 0), (0, 0)])
    )
  kernel = jnp.concatenate(shifted, axis=-1) if together > 1 else shifted[0]
  phases = math.prod(steps)
  pairs = [n for pair in zip(folded, steps, strict=True) for n in pair]
  x = x.reshape(batch, *pairs, groups, inputs)
  x = _steps_last(x, first=1, gap=1)
  x = x.reshape(batch, *folded, phases * channels)
  pairs = [n for pair in zip(taps, steps, strict=True) for n in pair]
  kernel = kernel.reshape(*pairs, inputs, together * outputs)
  kernel = _steps_last(kernel, first=0, gap=0)
  return x, kernel.reshape(*taps, phases * inputs, together * outputs)


def pad(x: jax.Array, widths: Sequence[tuple[int, int]]) -> jax.Array:
  """Pads with zeros; a negative width cuts."""
  zero = jnp.zeros((), x.dtype)
  return lax.pad(x, zero, [(before, after, 0) for before, after in widths])


def _steps_last(x: jax.Array, *, first: int, gap: int) -> jax.Array:
  """Orders [..., (n_i, s_i)..., gap axes, a, b?] with all s_i after the gap.

  `first` axes come before the pairs; one or two (without a gap) after.
  """
  rest = 1 if gap else 2
  count = (x.ndim - first - gap - rest) // 2
  lengths = [first + 2 * i for i in range(count)]
  steps = [axis + 1 for axis in lengths]
  end = first + 2 * count
  return x.transpose(
    *range(first),
    *lengths,
    *range(end, end + gap),
    *steps,
    *range(end + gap, x.ndim),
  )
