"""Which way a GPU computes a convolution: the first one that fits it.

XLA hands a convolution to cuDNN as it stands only where nothing is dilated and
nothing is grouped: it fills a dilated kernel with zeros, computes some gradients
as convolutions whose kernel is the whole clip, and stuffs others with zeros
(docs/performance.md). So all of them are written in other ways:

* a dilated layer runs over rows of `dilation` samples, undilated (see `rows`);
* a stride of which the kernel is a multiple folds samples into channels, and a
  transposed layer computes them as channels (see `two_taps`);
* neighbouring groups merge, each bundle a convolution of its own (see `bundles`);
* one tap is a product, and so are all taps of a layer of few inputs or outputs
  (see `taps`); over two axes neighbours become channels (see `folding`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.convolution import folding, plain, two_taps
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.convolution.gpu import bundles, pointwise, rows, taps

Array = jax.Array

# Channels that a tensor core takes at once; with fewer it is not used.
LEAST_CHANNELS = 8


class Way(NamedTuple):
  """How to compute a convolution.

  Attributes:
    zeros: that the last space axis is given before and after. cuDNN pads no
      side more than the other, so XLA would write them down in any case.
    convolve: x [B, *space, in] with these zeros, kernel [*k, in / groups, out],
      without bias.
  """

  zeros: tuple[int, int]
  convolve: Callable[[Array, Array], Array]


def of(spec: spec_lib.Spec, space: tuple[int, ...], inputs: int) -> Way:
  """Returns the way of a convolution of [B, *space, inputs]."""

  def way(compute, zeros=(0, 0)):
    return Way(zeros, lambda x, kernel: compute(x, kernel, spec))

  if spec.groups > 1:
    return way(_bundled)
  if spec.has_two_taps and spec.transposed:
    return way(_two_taps, (1, 0))
  if spec.transposed:
    return way(plain.convolve)
  if spec.dilation > 1:
    length = spec.outputs(space)[-1]
    return Way(
      rows.zeros(spec, space[-1]),
      lambda x, kernel: rows.convolve(x, kernel, spec, length),
    )
  if _sees_all_at_once(spec, space):
    return way(_product)
  if spec.stride > 1 and spec.has_whole_strides:
    return way(_whole_strides, spec.padding[0])
  if max(spec.strides) > 1:
    return way(_strided)
  if spec.axes == 1 and spec.features < LEAST_CHANNELS:
    return way(taps.of_few_outputs)
  if spec.axes == 1 and inputs < LEAST_CHANNELS:
    return way(taps.of_few_inputs)
  if inputs < LEAST_CHANNELS:
    return way(_folded)
  before, after = spec.padding[-1]
  if spec.axes == 1 and before != after:
    return way(_valid, (before, after))
  return way(plain.convolve)


def _valid(x, kernel, spec):
  del spec
  return lax.conv_general_dilated(
    x, kernel, (1,), ((0, 0),), dimension_numbers=("NWC", "WIO", "NWC")
  )


def _bundled(x, kernel, spec):
  return bundles.convolve(x, kernel, spec, _of_bundle)


def _of_bundle(x, kernel, spec):
  way = of(spec, x.shape[1:-1], x.shape[-1])
  return way.convolve(pad(x, way.zeros), kernel)


def pad(x: Array, zeros: tuple[int, int]) -> Array:
  """Puts zeros before and after the last space axis; a negative number cuts."""
  if not any(zeros):
    return x
  none = (0, 0, 0)
  around = [none] * (x.ndim - 2) + [(*zeros, 0), none]
  return lax.pad(x, lax.full((), 0, x.dtype), around)


def _sees_all_at_once(spec, space) -> bool:
  """Whether an output sees whole last axes of the input, one of the others."""
  if max(spec.strides) > 1 or any(map(any, spec.padding)):
    return False
  alone = math.prod(spec.kernel[:-1]) == 1
  return alone and spec.kernel[-1] in (1, space[-1])


def _product(x, kernel, spec):
  if spec.kernel[-1] > 1:
    x = x.reshape(*x.shape[:-2], 1, -1)
  kernel = kernel.reshape(-1, spec.features)
  if spec.axes > 1:
    return jnp.einsum("...i,io->...o", x, kernel)
  return pointwise.convolve(x, kernel)


def _two_taps(x, kernel, spec):
  return two_taps.convolve(
    x, kernel, spec, lambda x, kernel: _valid(x, kernel, None)
  )


def _whole_strides(x, kernel, spec):
  """Folds samples of a stride into channels."""
  batch, time, channels = x.shape
  folded = x.reshape(batch, time // spec.stride, spec.stride * channels)
  kernel = kernel.reshape(-1, spec.stride * channels, spec.features)
  return _valid(folded, kernel, spec)


def _strided(x, kernel, spec):
  """Computes more than is asked for where results are shorter than the kernel.

  XLA takes the kernel's gradient for what it is, cuDNN's BackwardFilter, only
  where the cotangent is longer than the kernel; otherwise it fills it with zeros.
  """
  space = spec.outputs(x.shape[1:-1])
  missing = [
    stride * max(0, taps + 1 - length) if stride > 1 else 0
    for stride, taps, length in zip(
      spec.strides, spec.kernel, space, strict=True
    )
  ]
  if not any(missing):
    return plain.convolve(x, kernel, spec)
  x = jnp.pad(x, [(0, 0), *((0, n) for n in missing), (0, 0)])
  y = plain.convolve(x, kernel, spec)
  return y[(slice(None), *map(slice, space))]


def _folded(x, kernel, spec):
  """Folds so many neighbours that channels are a multiple of LEAST_CHANNELS."""
  fold = LEAST_CHANNELS // math.gcd(LEAST_CHANNELS, x.shape[-1])
  length = spec.outputs(x.shape[1:-1])[-1]
  missing = max(0, length - x.shape[-2])
  missing += -(x.shape[-2] + missing) % fold
  y = folding.convolve(
    folding.refold(pad(x, (0, missing)), 1, fold),
    kernel,
    fold=fold,
    before=spec.padding[-1][0],
    lead_strides=spec.strides[:-1],
    lead_padding=spec.padding[:-1],
  )
  return folding.refold(y, fold, 1)[..., :length, :]
