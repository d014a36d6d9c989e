"""Waveform to latents: strided causal convolutions (paper section III-A)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax.convolution import methods as forms
from soundstream_jax.convolution.tpu import folding
from soundstream_jax.model import (
  layers,
)

DILATIONS = (1, 3, 9)


class Encoder(nn.Module):
  """[B, T, 1] -> [B, T / hop, embedding_dim].

  Channels start at `channels` and double with every stage; a stage is three
  residual units and a strided convolution with kernel 2 * stride.
  """

  channels: int
  strides: tuple[int, ...]
  embedding_dim: int
  residual_kernel: int
  residual_hidden_ratio: float
  form: str = "blocks"
  dtype: Any = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, audio: jax.Array) -> jax.Array:
    residual_unit = layers.residual_unit(rematerialise=self.rematerialise)
    folds = forms.folds(self.form, self.channels, self.strides)
    width = self.channels
    x = layers.conv(
      width,
      7,
      gain=layers.INPUT_GAIN,
      fold=folds[0],
      form=self.form,
      dtype=self.dtype,
      name="input",
    )(folding.refold(forms.lift(audio, self.form), 1, folds[0]))
    for stage, stride in enumerate(self.strides):
      for unit, dilation in enumerate(DILATIONS):
        x = residual_unit(
          self.residual_kernel,
          self.residual_hidden_ratio,
          dilation,
          folds[stage],
          form=self.form,
          dtype=self.dtype,
          name=f"stage{stage}_unit{unit}",
        )(x)
      width *= 2
      x = layers.downsample(
        width,
        stride=stride,
        folds=(folds[stage], folds[stage + 1]),
        form=self.form,
        dtype=self.dtype,
        name=f"stage{stage}_down",
      )(forms.elu(x, self.form))
    x = folding.refold(x, folds[-1], 1)
    x = layers.conv(
      self.embedding_dim, 3, form=self.form, dtype=self.dtype, name="output"
    )(forms.elu(x, self.form))
    return forms.lower(x, self.form)
