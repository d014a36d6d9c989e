"""A method of convolving from outside, with another layout than all of ours."""

import dataclasses

import jax.numpy as jnp

from soundstream_jax.convolution import plain


@dataclasses.dataclass(frozen=True)
class ChannelsFirst(plain.Plain):
  """Values lie as [B, C, *space]."""

  def enter(self, x, *, channels, granule):
    return jnp.moveaxis(x, -1, 1)

  def leave(self, x):
    return jnp.moveaxis(x.values, 1, -1)

  def convolve(self, spec, x, parameters, memory):
    kernel, bias = parameters()
    y = plain.convolve(self.leave(x), kernel, spec)
    return jnp.moveaxis(y, -1, 1) + bias.reshape(-1, *(1,) * spec.axes)[None]

  def per_channel(self, vector, x):
    return vector.reshape(1, -1, *(1,) * len(x.space))

  def mean_per_frame(self, values):
    axes = (1, *range(3, values.ndim))
    return jnp.mean(values, axis=axes, keepdims=True)
