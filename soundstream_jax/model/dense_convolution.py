"""Strided and grouped convolutions computed as plain dense ones, for speed.

XLA runs the gradients of strided and of finely grouped convolutions through
slow general code on a CPU, and convolutions of few channels fill no vectors.
All can be written as stride-1 convolutions without groups between enough
channels, which are matrix products:

* a stride s folds s neighbouring samples into the channels, and a kernel of k
  becomes one of ceil(k / s) taps over s times as many channels;
* neighbouring groups merge into a block of up to `BLOCK_INPUTS` inputs whose
  kernel is block-diagonal, and the blocks are convolved one by one;
* with few channels, neighbouring outputs become channels of one.

Kernels over two axes have their gradient as one matrix product per tap: XLA's
own form, a convolution with a kernel as large as the plane, takes three to five
times as long.

That is the form 'blocks', for CPUs. In the form 'lanes', for TPUs, groups merge
as well (a quarter of the cycles of groups of four inputs), but strides stay, and
layers of few channels are folded as a whole (see `folding`).

The result is the same sum in another order, with some terms times zero: a NaN
in the input spreads a little further than it otherwise would. The kernel that
is stored and learnt keeps the standard layout.
"""

import functools
import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from soundstream_jax import precision
from soundstream_jax.model import folding, initialise

# More wastes multiplications by zero, less makes matrices too thin.
BLOCK_INPUTS = 64
# Up to this many channels, neighbouring outputs are computed together.
NARROW_CHANNELS = 16
# Planes with more inputs than this, folded, are left to XLA's strided form,
# which is then the faster one. Measured, as the two above, on a CPU.
WIDE_PLANE = 32
# Up to this many weights to an output, a kernel's gradient is one product.
FEW_COLUMNS = 128


class Conv(nn.Module):
  """Convolution with optional groups and weight norm; channels last.

  Parameters are float32: `kernel` [*k, Cin // groups, Cout], `bias` [Cout]
  and, with weight norm, `scale` [Cout]. Then `kernel` gives the direction
  alone, and `scale` starts at 1, the expected norm of a fresh kernel.
  """

  features: int
  kernel_size: tuple[int, ...]
  strides: tuple[int, ...] | None = None
  padding: tuple[tuple[int, int], ...] | None = None
  groups: int = 1
  weight_norm: bool = False
  form: str = "blocks"
  folds: tuple[int, int] = (1, 1)  # of the last space axis, before and after
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inputs = x.shape[-1] // self.groups // self.folds[0]
    param_dtype = precision.of_parameters(self.dtype)
    kernel = self.param(
      "kernel",
      initialise.normal((math.prod(self.kernel_size) * inputs) ** -0.5),
      (*self.kernel_size, inputs, self.features),
      param_dtype,
    )
    bias = self.param(
      "bias", initialise.constant(0.0), (self.features,), param_dtype
    )
    if self.weight_norm:
      scale = self.param(
        "scale", initialise.constant(1.0), (self.features,), param_dtype
      )
      ratio = scale / _column_norms(kernel)
      kernel = kernel * ratio.reshape((1,) * (kernel.ndim - 1) + (-1,))
    axes = len(self.kernel_size)
    kernel = kernel.astype(self.dtype)
    strides = self.strides or (1,) * axes
    padding = self.padding or ((0, 0),) * axes
    if self.folds == (1, 1):
      how = {"strides": strides, "padding": padding, "form": self.form}
      y = convolve(x, kernel, groups=self.groups, **how)
    else:
      kernel, groups = merge_groups(kernel, self.groups)
      if groups > 1:
        raise ValueError(f"{groups} blocks cannot be folded.")
      y = folding.convolve(
        folding.refold(x, self.folds[0], self.folds[1] * strides[-1]),
        kernel,
        fold=self.folds[1],
        stride=strides[-1],
        before=padding[-1][0],
        lead_strides=strides[:-1],
        lead_padding=padding[:-1],
      )
      bias = jnp.tile(bias, self.folds[1])
    return precision.add_bias(y, bias)


def convolve(
  x: jax.Array,
  kernel: jax.Array,
  *,
  strides: Sequence[int],
  padding: Sequence[tuple[int, int]],
  groups: int = 1,
  form: str = "blocks",
) -> jax.Array:
  """Convolves x [B, *space, Cin] with kernel [*k, Cin // groups, Cout].

  Equal to lax.conv_general_dilated, channels last, with window_strides,
  padding and feature_group_count, for one or two space axes.

  Args:
    padding: zeros before and after, per space axis.
    form: 'plain' is that function, 'blocks' what suits a CPU, 'lanes' a TPU.

  Returns:
    [B, *space', Cout], in the dtype of x and kernel.
  """
  if form != "plain":
    kernel, groups = merge_groups(kernel, groups)
  compute = _convolve_densely if form == "blocks" else _convolve_as_is
  return compute(x, kernel, strides=strides, padding=padding, groups=groups)


def _convolve_as_is(x, kernel, *, strides, padding, groups):
  letters = "HW"[-len(strides) :]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=strides,
    padding=padding,
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    feature_group_count=groups,
  )


def _convolve_densely(x, kernel, *, strides, padding, groups):
  blocks = [
    _convolve_block(block, weights, tuple(strides), tuple(padding))
    for block, weights in zip(
      jnp.split(x, groups, axis=-1),
      jnp.split(kernel, groups, axis=-1),
      strict=True,
    )
  ]
  return jnp.concatenate(blocks, axis=-1) if groups > 1 else blocks[0]


def _convolve_block(x, kernel, strides, padding):
  if len(strides) == 1:
    return _folded(x, kernel, strides, padding)
  return _plane(x, kernel, strides, padding)


def _folded(x, kernel, strides, padding):
  """Without strides, and with neighbouring outputs at once if few channels."""
  *size, inputs, outputs = kernel.shape
  space = [
    (x.shape[1 + i] + sum(padding[i]) - size[i]) // strides[i] + 1
    for i in range(len(strides))
  ]
  together = 1
  if size[-1] > 1:
    together = max(1, NARROW_CHANNELS // max(inputs, outputs))
  y, kernel = fold_strides(
    x, kernel, strides=strides, padding=padding, groups=1, together=together
  )
  none = ((0, 0),) * len(strides)
  ones = (1,) * len(strides)
  y = _convolve_as_is(y, kernel, strides=ones, padding=none, groups=1)
  if together > 1:
    y = y.reshape(x.shape[0], *space[:-1], -1, outputs)
    y = lax.slice_in_dim(y, 0, space[-1], axis=len(strides))
  return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _plane(x, kernel, strides, padding):
  """Two axes: XLA's own forward form, and gradients that it has none for."""
  *_, inputs, outputs = kernel.shape
  narrow = NARROW_CHANNELS // max(inputs, outputs) > 1
  if narrow or math.prod(strides) * inputs <= WIDE_PLANE:
    return _folded(x, kernel, strides, padding)
  return _convolve_as_is(x, kernel, strides=strides, padding=padding, groups=1)


def _plane_forward(x, kernel, strides, padding):
  return _plane(x, kernel, strides, padding), (x, kernel)


def _plane_backward(strides, padding, saved, cotangent):
  x, kernel = saved
  (slope,) = jax.linear_transpose(
    lambda x: _folded(x, kernel, strides, padding), x
  )(cotangent)
  return slope, _kernel_slope(x, kernel, strides, padding, cotangent)


_plane.defvjp(_plane_forward, _plane_backward)


def _kernel_slope(x, kernel, strides, padding, cotangent):
  """The gradient of a kernel, as one product per tap.

  XLA's form, a convolution whose kernel is as large as the plane, runs at a
  tenth of the rate. If all taps have few inputs together, one product does.
  """
  *size, inputs, outputs = kernel.shape
  x = _pad(x, [(0, 0), *padding, (0, 0)])
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


def merge_groups(kernel: jax.Array, groups: int) -> tuple[jax.Array, int]:
  """Expands a grouped kernel to fewer groups of up to BLOCK_INPUTS inputs.

  Returns:
    The kernel [*k, merged * Cin // groups, Cout], zero between the groups that
    share a block, and the number of blocks, groups // merged.
  """
  *size, inputs, outputs = kernel.shape
  merged = max(
    (
      number
      for number in range(1, groups + 1)
      if groups % number == 0 and number * inputs <= BLOCK_INPUTS
    ),
    default=1,
  )
  if merged == 1:
    return kernel, groups
  blocks, per_group = groups // merged, outputs // groups
  one = len(size) * (1,)
  diagonal = jnp.eye(merged, dtype=kernel.dtype)
  kernel = kernel.reshape(*size, 1, inputs, blocks, merged, per_group)
  kernel = kernel * diagonal.reshape(*one, merged, 1, 1, merged, 1)
  return kernel.reshape(*size, merged * inputs, outputs), blocks


def fold_strides(
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
  x = _pad(x, [(0, 0), *((padding[i][0], after[i]) for i in axes), (0, 0)])
  shifted = []
  for neighbour in range(together):
    before = [shift * neighbour for shift in shifts]
    after = [taps[i] * steps[i] - size[i] - before[i] for i in axes]
    shifted.append(
      _pad(kernel, [*zip(before, after, strict=True), (0, 0), (0, 0)])
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


def _pad(x: jax.Array, widths: Sequence[tuple[int, int]]) -> jax.Array:
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


def _column_norms(kernel: jax.Array) -> jax.Array:
  """Norm of each output's weights [Cout]; the slope is finite at zero."""
  squares = jnp.sum(jnp.square(kernel), axis=tuple(range(kernel.ndim - 1)))
  return jnp.sqrt(squares + 1e-12)
