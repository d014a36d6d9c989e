"""Convolutions on a GPU: each one is a kernel of cuDNN's, or a product.

XLA hands a convolution to cuDNN as it stands only where nothing is dilated and
nothing is grouped: it fills a dilated kernel with zeros, computes some gradients
as convolutions whose kernel is the whole clip, and stuffs others with zeros
(docs/performance.md). So here all of them are written in other ways:

* a dilated layer runs over rows of `dilation` samples, undilated (see `rows`);
* a stride of which the kernel is a multiple folds samples into channels, and a
  transposed layer computes them as channels (see `two_taps`);
* neighbouring groups merge, each bundle a convolution of its own (see `bundles`);
* one tap is a product, and so are all taps of a layer of few outputs;
* of a layer of few inputs neighbouring samples become channels (see `folding`).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import (
  activation,
  folding,
  frame_norm,
  plain,
  two_taps,
)
from soundstream_jax.convolution.gpu import bundles, pointwise, rows, taps

# Channels that a tensor core takes at once; with fewer it is not used.
LEAST_CHANNELS = 8


@dataclasses.dataclass(frozen=True)
class Gpu(plain.Plain):
  """'gpu' in config.form."""

  def convolve(self, spec, x, parameters, memory):
    del memory
    spec, values = plain.sampled(spec, x.values)
    kernel, bias = parameters()
    return precision.add_bias(convolve(values, kernel, spec), bias)

  def elu(self, values):
    return self.elementwise(activation.elu, values)

  def normalise(self, x, scale, bias, then):
    scale, bias = self.per_channel(scale, x), self.per_channel(bias, x)
    return frame_norm.normalise(x.values, scale, bias, then)


def convolve(x, kernel, spec) -> jax.Array:
  """x [B, *space, in] with kernel [*k, in / groups, out], without bias."""
  if spec.groups > 1:
    return bundles.convolve(x, kernel, spec, convolve)
  if spec.has_two_taps:
    return two_taps.convolve(x, kernel, spec)
  if spec.transposed:
    return plain.convolve(x, kernel, spec)
  if spec.dilation > 1:
    return rows.convolve(x, kernel, spec)
  if _sees_all_at_once(x, spec):
    return _product(x, kernel, spec)
  if spec.stride > 1 and spec.has_whole_strides:
    return _by_strides(x, kernel, spec)
  if max(spec.strides) > 1:
    return plain.convolve(x, kernel, spec)
  if spec.axes == 1 and spec.features < LEAST_CHANNELS:
    return taps.of_few_outputs(x, kernel, spec)
  if spec.axes == 1 and x.shape[-1] < LEAST_CHANNELS:
    return taps.of_few_inputs(x, kernel, spec)
  if x.shape[-1] < LEAST_CHANNELS:
    return _folded(x, kernel, spec)
  return plain.convolve(x, kernel, spec)


def _sees_all_at_once(x, spec) -> bool:
  """Whether an output sees whole last axes of the input, and one of the others."""
  if max(spec.strides) > 1 or any(map(any, spec.padding)):
    return False
  return math.prod(spec.kernel[:-1]) == 1 and (
    spec.kernel[-1] in (1, x.shape[-2])
  )


def _product(x, kernel, spec):
  if spec.kernel[-1] > 1:
    x = x.reshape(*x.shape[:-2], 1, -1)
  kernel = kernel.reshape(-1, spec.features)
  if spec.axes > 1:
    return jnp.einsum("...i,io->...o", x, kernel)
  return pointwise.convolve(x, kernel)


def _by_strides(x, kernel, spec):
  """Folds samples of a stride into channels."""
  batch, time, channels = x.shape
  stride = spec.stride
  folded = x.reshape(batch, time // stride, stride * channels)
  kernel = kernel.reshape(-1, stride * channels, spec.features)
  return two_taps.causal(folded, kernel)


def _folded(x, kernel, spec):
  """Folds so many neighbours that channels are a multiple of LEAST_CHANNELS."""
  fold = LEAST_CHANNELS // math.gcd(LEAST_CHANNELS, x.shape[-1])
  length = spec.outputs(x.shape[1:-1])[-1]
  missing = max(0, length - x.shape[-2])
  missing += -(x.shape[-2] + missing) % fold
  around = [(0, 0)] * (x.ndim - 2) + [(0, missing), (0, 0)]
  y = folding.convolve(
    folding.refold(jnp.pad(x, around), 1, fold),
    kernel,
    fold=fold,
    before=spec.padding[-1][0],
    lead_strides=spec.strides[:-1],
    lead_padding=spec.padding[:-1],
  )
  return folding.refold(y, fold, 1)[..., :length, :]
