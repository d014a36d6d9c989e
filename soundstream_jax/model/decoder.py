"""Latents to waveform: the encoder's mirror (paper III-B, Fig. 3)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from soundstream_jax.convolution import signal, spec
from soundstream_jax.model import layers


class Decoder(nn.Module):
  """[B, F, embedding_dim] -> [B, F * hop, 1].

  No output activation: the paper draws none.

  Attributes:
    channels: of the last layer but one; they double with every stage before it.
    strides: of the encoder's stages, which the decoder's run through backwards.
    residual_kernel: taps of the residual units' dilated convolutions.
    residual_hidden_ratio: their width over that of the unit.
    activation: of `layers.activated`.
    dtype: of the convolutions.
    rematerialise: keeps the inputs of residual units alone for the gradient.
  """

  channels: int
  strides: tuple[int, ...]
  residual_kernel: int
  residual_hidden_ratio: float
  activation: str = "elu"
  dtype: Any = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, latents: signal.Signal) -> signal.Signal:
    widest = self.channels * 2 ** len(self.strides)
    first = spec.causal(widest, 7)
    last = spec.causal(1, 7)
    x = self._conv(first, name="input")(latents)
    for stage, stride in enumerate(reversed(self.strides)):
      x = self._stage(x, stride, name=f"stage{stage}")
    x = self._activated(x, "output")
    return self._conv(last, gain=layers.OUTPUT_GAIN, name="output")(x)

  def _stage(self, x, stride: int, *, name: str) -> signal.Signal:
    """Half the channels at `stride` times the rate, then residual units."""
    up = spec.upsampling(x.channels // 2, stride)
    x = self._activated(x, f"{name}_up")
    x = self._conv(up, name=f"{name}_up")(x)
    return layers.residual_units(
      x,
      kernel_size=self.residual_kernel,
      hidden_ratio=self.residual_hidden_ratio,
      activation=self.activation,
      rematerialise=self.rematerialise,
      dtype=self.dtype,
      name=name,
    )

  def _activated(self, x, name: str) -> signal.Signal:
    return layers.activated(x, self.activation, dtype=self.dtype, name=name)

  def _conv(self, what: spec.Spec, **options) -> layers.Conv:
    return layers.Conv(what, dtype=self.dtype, **options)
