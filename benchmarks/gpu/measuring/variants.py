"""One convolution written in several ways, all of one value: which is fastest?

Every function takes x [B, *space, C] and a kernel in the standard layout, and a
specification; none adds a bias. `OF` has them by the question that they answer.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.convolution import groups as groups_lib
from soundstream_jax.convolution import plain, two_taps
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.convolution.cpu import strides as strides_lib

Array = jax.Array
Variant = Callable[[Array, Array, spec_lib.Spec], Array]

_INPUTS_PER_GROUP = 4  # of every grouped layer that we have
# What channels are filled up to.
EIGHT = 8


def as_written(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """XLA's own."""
  return plain.convolve(x, kernel, spec)


def merged(
  x: Array,
  kernel: Array,
  spec: spec_lib.Spec,
  *,
  inputs: int,
  split: bool,
  folded: bool,
) -> Array:
  """Groups as dense blocks of so many inputs.

  Args:
    inputs: of a block; all of them if there are fewer.
    split: a convolution for each block; else one with feature_group_count.
    folded: the stride is folded into channels first.
  """
  kernel, blocks = groups_lib.merge(
    kernel, spec.groups, inputs_per_bundle=inputs
  )
  strides, padding = spec.strides, spec.padding
  if folded:
    x, kernel = strides_lib.fold(
      x, kernel, strides=strides, padding=padding, groups=blocks
    )
    strides, padding = (1,), ((0, 0),)
  convolve = functools.partial(
    strides_lib.as_is, strides=strides, padding=padding
  )
  if not split:
    return convolve(x, kernel, groups=blocks)
  return jnp.concatenate(
    [
      convolve(*block)
      for block in zip(
        jnp.split(x, blocks, axis=-1),
        jnp.split(kernel, blocks, axis=-1),
        strict=True,
      )
    ],
    axis=-1,
  )


def filled(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """Input and output channels filled with zeros to multiples of eight."""
  x = _fill(x, axes=(-1,))
  kernel = _fill(kernel, axes=(-2, -1))
  wider = dataclasses.replace(spec, features=kernel.shape[-1])
  return plain.convolve(x, kernel, wider)[..., : spec.features]


def shifted(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """A copy of x for each tap, side by side as channels, and one product."""
  space = spec.outputs(x.shape[1:-1])
  x = _pad(x, spec)
  copies = [
    x[:, *(slice(i, i + n) for i, n in zip(tap, space, strict=True))]
    for tap in itertools.product(*map(range, spec.kernel))
  ]
  flat = kernel.reshape(-1, kernel.shape[-1])
  return jnp.concatenate(copies, axis=-1) @ flat


def summed(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """One product with all taps side by side as outputs, then shifted sums."""
  (size,) = spec.kernel
  taps = jnp.moveaxis(kernel, 0, 1).reshape(kernel.shape[1], -1)
  x = _pad(x, spec)
  each = (x @ taps).reshape(*x.shape[:-1], size, spec.features)
  outputs = x.shape[1] - size + 1
  return sum(each[:, i : i + outputs, i] for i in range(size))


def together(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """Eight neighbouring samples as the channels of one."""
  (outputs,) = spec.outputs(x.shape[1:-1])
  x, kernel = strides_lib.fold(
    x,
    kernel,
    strides=spec.strides,
    padding=spec.padding,
    groups=1,
    together=EIGHT,
  )
  y = strides_lib.as_is(x, kernel, strides=(1,), padding=((0, 0),))
  # Up to seven outputs lie beyond the end.
  return y.reshape(x.shape[0], -1, spec.features)[:, :outputs]


def dot(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """A pointwise convolution as a product over all axes but the last."""
  spec, x = plain.sampled(spec, x)
  return x @ kernel.reshape(kernel.shape[-2:])


def flat_dot(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """A pointwise convolution as a product of two matrices."""
  spec, x = plain.sampled(spec, x)
  y = x.reshape(-1, x.shape[-1]) @ kernel.reshape(kernel.shape[-2:])
  return y.reshape(*x.shape[:-1], spec.features)


def rows(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """A dilated convolution over the rows of [B, T / d, d, C]."""
  clips, samples, channels = x.shape
  d = spec.dilation
  x = jnp.pad(x, ((0, 0), (0, -samples % d), (0, 0)))
  x = x.reshape(clips, -1, d, channels)
  y = lax.conv_general_dilated(
    x,
    kernel[:, None],
    window_strides=(1, 1),
    padding=((spec.kernel[0] - 1, 0), (0, 0)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return y.reshape(clips, -1, spec.features)[:, :samples]


def folded_up(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """A transposed or strided convolution of two taps between folded samples."""
  return two_taps.convolve(x, kernel, spec)


def as_gradient(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """A transposed convolution as the gradient of a strided one."""
  return _upsampled(x, kernel, spec.stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _upsampled(x, kernel, stride):
  clips, frames, _ = x.shape
  output = jax.ShapeDtypeStruct(
    (clips, frames * stride, kernel.shape[-1]), x.dtype
  )
  transpose = jax.linear_transpose(lambda y: _down(y, kernel, stride), output)
  (y,) = transpose(x)
  return y


def _down(y, kernel, stride):
  """The strided convolution whose gradient is wanted, [B, T, out] -> in."""
  return lax.conv_general_dilated(
    y,
    kernel.swapaxes(1, 2),
    window_strides=(stride,),
    padding=((0, kernel.shape[0] - stride),),
    dimension_numbers=("NHC", "HIO", "NHC"),
  )


def _upsampled_forward(x, kernel, stride):
  return _upsampled(x, kernel, stride), (x, kernel)


def _upsampled_backward(stride, kept, cotangent):
  x, kernel = kept
  # The product of x with `_down` is that of the output with the cotangent.
  to_kernel = jax.linear_transpose(
    lambda k: _down(cotangent, k, stride), kernel
  )
  return _down(cotangent, kernel, stride), *to_kernel(x)


_upsampled.defvjp(_upsampled_forward, _upsampled_backward)


def _pad(x, spec):
  return strides_lib.pad(x, [(0, 0), *spec.padding, (0, 0)])


def _fill(x, *, axes):
  widths = [(0, 0)] * x.ndim
  for axis in axes:
    widths[axis] = (0, -x.shape[axis] % EIGHT)
  return jnp.pad(x, widths)


def _block(inputs: int, *, split: bool, folded: bool) -> Variant:
  return functools.partial(merged, inputs=inputs, split=split, folded=folded)


ALL = 1 << 30

# Question -> variant -> function.
OF: dict[str, dict[str, Variant]] = {
  "groups": {
    "as written": as_written,
    "64, split": _block(64, split=True, folded=False),
    "64, grouped, folded": _block(64, split=False, folded=True),
    "128, split": _block(128, split=True, folded=False),
    "128, grouped, folded": _block(128, split=False, folded=True),
    "64, split, folded": _block(64, split=True, folded=True),
    "64, grouped": _block(64, split=False, folded=False),
    "dense": _block(ALL, split=True, folded=False),
  },
  "one channel": {
    "as written": as_written,
    "filled to 8": filled,
    "8 samples as channels": together,
    "product of shifted copies": shifted,
  },
  "to one channel": {
    "as written": as_written,
    "filled to 8": filled,
    "product, then shifted sums": summed,
  },
  "planes of two channels": {
    "as written": as_written,
    "filled to 8": filled,
    "product of shifted copies": shifted,
  },
  "pointwise": {
    "convolution": as_written,
    "dot": dot,
    "dot of matrices": flat_dot,
  },
  "dilated": {"as written": as_written, "rows": rows},
  "transposed": {
    "as written": as_written,
    "folded": folded_up,
    "gradient of a strided one": as_gradient,
  },
  "strided": {"as written": as_written, "folded": folded_up},
}


def ways(question: str, spec: spec_lib.Spec) -> dict[str, Variant]:
  """Returns the variants of a question that differ from each other for a layer.

  A layer of few inputs is one block, whatever the most of a block is.
  """
  found, seen = {}, set()
  for name, function in OF[question].items():
    key = name
    if question == "groups" and function is not as_written:
      given = function.keywords
      blocks = _blocks(spec, given["inputs"])
      key = blocks, given["folded"], given["split"] or blocks == 1
    if key not in seen:
      seen.add(key)
      found[name] = function
  return found


def _blocks(spec: spec_lib.Spec, inputs: int) -> int:
  """Returns the number of dense blocks of a layer with four inputs a group."""
  kernel = jax.ShapeDtypeStruct(
    (1, _INPUTS_PER_GROUP, spec.features), "float32"
  )
  blocks = []

  def merge(kernel):
    merged, count = groups_lib.merge(
      kernel, spec.groups, inputs_per_bundle=inputs
    )
    blocks.append(count)
    return merged

  jax.eval_shape(merge, kernel)
  return blocks[0]


def fits(name: str, spec: spec_lib.Spec, inputs: int) -> bool:
  """Whether a question is one about a layer."""
  taps = math.prod(spec.kernel)
  plain_line = (
    spec.axes == 1
    and spec.groups == spec.dilation == spec.stride == 1
    and taps > 1
  )
  return {
    "groups": spec.groups > 1,
    "one channel": plain_line and inputs == 1,
    "to one channel": plain_line and spec.features == 1,
    "planes of two channels": spec.axes == 2 and inputs == 2,
    "pointwise": taps == 1,
    "dilated": spec.dilation > 1,
    "transposed": spec.transposed,
    "strided": spec.has_two_taps and not spec.transposed and spec.stride > 1,
  }[name]
