"""Convolutions on a TPU: time and frequency are folded into channels.

Layers of few channels are folded as a whole (see `folding`), by as many
neighbours as fill a vector and stay together through the strides to come: that
is the one rule, of the entry and of every strided layer. Layers of stride 1 keep
the fold of their input. Groups merge too: a quarter of the cycles of groups of
four inputs, by the compiler's count.
"""

import dataclasses

import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import folding, plain, two_taps
from soundstream_jax.convolution import groups as groups_lib
from soundstream_jax.convolution import signal as signal_lib

# Of merged groups; what the compiler for a TPU found best.
INPUTS_PER_BUNDLE = 64


@dataclasses.dataclass(frozen=True)
class Tpu(plain.Plain):
  """'lanes' in config.form: values are [B, *, T / fold, fold * C]."""

  def enter(self, x, *, channels, granule):
    fold = folding.factor(channels, granule)
    missing = -x.shape[-2] % fold
    if missing:
      around = [(0, 0)] * (x.ndim - 2) + [(0, missing), (0, 0)]
      x = jnp.pad(x, around)
    return folding.refold(x, 1, fold)

  def convolve(self, spec, x, parameters, memory):
    del memory
    before, values = _fold(x), x.values
    after = before
    if spec.stride > 1:
      granule = signal_lib.granule_after(spec, x.granule)
      after = folding.factor(spec.features, granule)
    length = spec.outputs(x.space)[-1]
    if length % after:  # as of the layer that sees all frequencies at once
      values, before, after = self.leave(x), 1, 1
    if before == after == 1:
      return _unfolded(values, spec, parameters)
    kernel, bias = parameters()
    y = _folded(values, kernel, spec, before, after)
    y = precision.add_bias(y, jnp.tile(bias, after))
    return y[..., : length // after, :]

  def per_channel(self, vector, x):
    return super().per_channel(jnp.tile(vector, _fold(x)), x)

  def leave(self, x):
    values = folding.refold(x.values, _fold(x), 1)
    return values[..., : x.space[-1], :]


def _fold(x):
  """How many neighbours of a signal are folded into channels."""
  return x.values.shape[-1] // x.channels


def _folded(x, kernel, spec, before, after):
  """Convolves between folded samples: `before` of the input, `after` of it."""
  stride = spec.stride
  if spec.transposed:
    y = folding.transposed(x, kernel, fold=before, stride=stride)
    return folding.refold(y, before * stride, after)
  kernel, groups = _merge(kernel, spec)
  if groups > 1:
    raise ValueError(f"{groups} bundles of groups cannot be folded.")
  return folding.convolve(
    folding.refold(x, before, after * stride),
    kernel,
    fold=after,
    stride=stride,
    dilation=spec.dilation,
    before=spec.padding[-1][0],
    lead_strides=spec.strides[:-1],
    lead_padding=spec.padding[:-1],
  )


def _unfolded(x, spec, parameters):
  """Convolves [B, *space, C], with bias."""
  spec, x = plain.sampled(spec, x)
  kernel, bias = parameters()
  if spec.has_two_taps:
    return precision.add_bias(two_taps.convolve(x, kernel, spec), bias)
  kernel, groups = _merge(kernel, spec)
  spec = dataclasses.replace(spec, groups=groups)
  return precision.add_bias(plain.convolve(x, kernel, spec), bias)


def _merge(kernel, spec):
  return groups_lib.merge(
    kernel, spec.groups, inputs_per_bundle=INPUTS_PER_BUNDLE
  )
