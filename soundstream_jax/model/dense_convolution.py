"""Strided and grouped convolutions computed as plain dense ones, for speed.

XLA runs the gradients of strided and of finely grouped convolutions through
slow general code on a CPU, and convolutions of few channels fill no vectors.
All can be written as stride-1 convolutions without groups between enough
channels, which are matrix products:

* a stride s folds s neighbouring samples into the channels (see `strides`);
* neighbouring groups merge into a block whose kernel is block-diagonal, and the
  blocks are convolved one by one;
* kernels over two axes have gradients of their own (see `planes`).

That is the form 'blocks', for CPUs. In 'rows', for CPUs with AVX-512, those over
one axis are then computed as planes of one row (see `rows`). In the form 'lanes',
for TPUs, groups merge as well (a quarter of the cycles of groups of four inputs),
but strides stay, and layers of few channels are folded as a whole (see `folding`).

The result is the same sum in another order, with some terms times zero: a NaN
in the input spreads a little further than it otherwise would. The kernel that
is stored and learnt keeps the standard layout.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import methods as forms
from soundstream_jax.convolution.cpu import conv2d_gradients as planes
from soundstream_jax.convolution.cpu import rows
from soundstream_jax.convolution.cpu import strides as strides_lib
from soundstream_jax.convolution.tpu import folding
from soundstream_jax.model import (
  initialise,
)

# Inputs to a block of merged groups. More multiply by zero, fewer make matrices
# too thin. Measured on a CPU, and by the compiler for a TPU.
BLOCK_INPUTS = {"blocks": 16, "rows": 16, "lanes": 64}
# On a CPU each block is a convolution of its own, to be compiled.
MOST_BLOCKS = 16


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
      kernel, groups = merge_groups(kernel, self.groups, form=self.form)
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
    form: 'plain' is that function, 'blocks' and 'rows' are what suits a CPU,
      'lanes' a TPU.

  Returns:
    [B, *space', Cout], in the dtype of x and kernel.
  """
  if form != "plain":
    kernel, groups = merge_groups(kernel, groups, form=form)
  how = {"strides": strides, "padding": padding, "groups": groups}
  if not forms.is_for_cpus(form):
    return strides_lib.as_is(x, kernel, **how)
  return _convolve_densely(x, kernel, **how, as_rows=form == "rows")


def _convolve_densely(x, kernel, *, strides, padding, groups, as_rows):
  strides, padding = tuple(strides), tuple(padding)
  if len(strides) == 2:
    if groups > 1:
      return strides_lib.as_is(
        x, kernel, strides=strides, padding=padding, groups=groups
      )
    return planes.convolve(x, kernel, strides, padding)
  compute = _as_row if as_rows else strides_lib.as_is
  if groups == 1:
    return strides_lib.convolve(
      x, kernel, strides=strides, padding=padding, compute=compute
    )
  # Padded and folded once for all blocks, which are then convolved one by one.
  x, kernel = strides_lib.fold(
    x, kernel, strides=strides, padding=padding, groups=groups
  )
  blocks = [
    compute(block, weights, strides=(1,), padding=((0, 0),))
    for block, weights in zip(
      jnp.split(x, groups, axis=-1),
      jnp.split(kernel, groups, axis=-1),
      strict=True,
    )
  ]
  return jnp.concatenate(blocks, axis=-1)


def _as_row(x, kernel, *, strides, padding):
  """strides.as_is over one axis without strides."""
  if strides != (1,):
    raise ValueError(f"A row has no strides {strides}.")
  return rows.convolve(x[:, None], kernel, tuple(padding[0]))[:, 0]


def merge_groups(
  kernel: jax.Array, groups: int, *, form: str
) -> tuple[jax.Array, int]:
  """Expands a grouped kernel to fewer groups of up to BLOCK_INPUTS inputs.

  Of more where a CPU would otherwise have more blocks than MOST_BLOCKS.

  Returns:
    The kernel [*k, merged * Cin // groups, Cout], zero between the groups that
    share a block, and the number of blocks, groups // merged.
  """
  *size, inputs, outputs = kernel.shape
  numbers = [n for n in range(1, groups + 1) if groups % n == 0]
  merged = max(n for n in numbers if n == 1 or n * inputs <= BLOCK_INPUTS[form])
  if forms.is_for_cpus(form):
    merged = next(
      n for n in numbers if n >= merged and groups // n <= MOST_BLOCKS
    )
  if merged == 1:
    return kernel, groups
  blocks, per_group = groups // merged, outputs // groups
  one = len(size) * (1,)
  diagonal = jnp.eye(merged, dtype=kernel.dtype)
  kernel = kernel.reshape(*size, 1, inputs, blocks, merged, per_group)
  kernel = kernel * diagonal.reshape(*one, merged, 1, 1, merged, 1)
  return kernel.reshape(*size, merged * inputs, outputs), blocks


def _column_norms(kernel: jax.Array) -> jax.Array:
  """Norm of each output's weights [Cout]; the slope is finite at zero."""
  squares = jnp.sum(jnp.square(kernel), axis=tuple(range(kernel.ndim - 1)))
  return jnp.sqrt(squares + 1e-12)
