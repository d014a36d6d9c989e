"""Waveform to latents: strided causal convolutions (paper III-A, Fig. 3)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from soundstream_jax.convolution import signal, spec
from soundstream_jax.model import layers


class Encoder(nn.Module):
  """[B, T, 1] -> [B, T / hop, embedding_dim].

  Attributes:
    channels: of the first layer; they double with every stage.
    strides: of the stages.
    embedding_dim: D.
    residual_kernel: taps of the residual units' dilated convolutions.
    residual_hidden_ratio: their width over that of the unit.
    activation: of `layers.activated`.
    input_gain: of the first layer's kernels; 0 is the activation's own.
    dtype: of the convolutions.
    rematerialise: keeps the inputs of residual units alone for the gradient.
  """

  channels: int
  strides: tuple[int, ...]
  embedding_dim: int
  residual_kernel: int
  residual_hidden_ratio: float
  activation: str = "elu"
  input_gain: float = 0.0
  dtype: Any = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, audio: signal.Signal) -> signal.Signal:
    first = spec.causal(self.channels, 7)
    last = spec.causal(self.embedding_dim, 3)
    gain = self.input_gain or layers.INPUT_GAIN[self.activation]
    x = self._conv(first, gain=gain, name="input")(audio)
    for stage, stride in enumerate(self.strides):
      x = self._stage(x, stride, name=f"stage{stage}")
    x = self._activated(x, "output")
    return self._conv(last, name="output")(x)

  def _stage(self, x, stride: int, *, name: str) -> signal.Signal:
    """Residual units, then twice the channels at 1 / stride of the rate."""
    x = layers.residual_units(
      x,
      kernel_size=self.residual_kernel,
      hidden_ratio=self.residual_hidden_ratio,
      activation=self.activation,
      rematerialise=self.rematerialise,
      dtype=self.dtype,
      name=name,
    )
    down = spec.downsampling(2 * x.channels, stride)
    x = self._activated(x, f"{name}_down")
    return self._conv(down, name=f"{name}_down")(x)

  def _activated(self, x, name: str) -> signal.Signal:
    return layers.activated(x, self.activation, dtype=self.dtype, name=name)

  def _conv(self, what: spec.Spec, **options) -> layers.Conv:
    return layers.Conv(what, dtype=self.dtype, **options)
