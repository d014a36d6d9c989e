"""Convolutions on a GPU: each one a kernel of cuDNN's, or a product (see `ways`).

Memory is what a step takes time for. So the activation before a layer waits for
the zeros that the layer is given: then what is written down once, zeros and all,
is what the layer's gradients need, and the activation's too (see `activation`).
What it was applied to need not be kept.
"""

import dataclasses

import flax.struct
import jax

from soundstream_jax import precision
from soundstream_jax.convolution import activation, frame_norm, plain
from soundstream_jax.convolution.gpu import ways


@flax.struct.dataclass
class Waiting:
  """Values that ELU has yet to be applied to."""

  values: jax.Array

  @property
  def ndim(self) -> int:
    return self.values.ndim


@dataclasses.dataclass(frozen=True)
class Gpu(plain.Plain):
  """'gpu' in config.form: values are [B, *space, C], or wait for their ELU."""

  def lay_out(self, spec, x):
    waits = isinstance(x.values, Waiting)
    spec, values = plain.sampled(spec, x.values.values if waits else x.values)
    way = ways.of(spec, values.shape[1:-1], x.channels)
    values = ways.pad(values, way.zeros)
    return activation.elu_written_once(values) if waits else values

  def convolve(self, spec, x, parameters, memory):
    del memory
    space = x.space
    if plain.is_sampled(spec):
      spec, space = plain.unstrided(spec), spec.outputs(space)
    kernel, bias = parameters()
    y = ways.of(spec, space, x.channels).convolve(x.values, kernel)
    return precision.add_bias(y, bias)

  def elementwise(self, function, *values):
    return function(*map(_done, values))

  def elu(self, values):
    return Waiting(_done(values))

  def snake(self, x, parameters, memory):
    x = x.replace(values=_done(x.values))
    return super().snake(x, parameters, memory)

  def normalise(self, x, scale, bias, then):
    scale, bias = self.per_channel(scale, x), self.per_channel(bias, x)
    return frame_norm.normalise(_done(x.values), scale, bias, then)

  def leave(self, x):
    return _done(x.values)


def _done(values):
  if isinstance(values, Waiting):
    return activation.elu(values.values)
  return values
