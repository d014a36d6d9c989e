"""Latents to waveform: the encoder's mirror (paper section III-B)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax.convolution import methods as forms
from soundstream_jax.convolution.tpu import folding
from soundstream_jax.model import (
  encoder,
  layers,
)


class Decoder(nn.Module):
  """[B, F, embedding_dim] -> [B, F * hop, 1].

  Stages run through `strides` backwards; a stage is a transposed convolution
  with kernel 2 * stride and three residual units. No output activation: the
  paper draws none.
  """

  channels: int
  strides: tuple[int, ...]
  residual_kernel: int
  residual_hidden_ratio: float
  form: str = "blocks"
  dtype: Any = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, latents: jax.Array) -> jax.Array:
    residual_unit = layers.residual_unit(rematerialise=self.rematerialise)
    folds = forms.folds(self.form, self.channels, self.strides)[::-1]
    width = self.channels * 2 ** len(self.strides)
    x = layers.conv(width, 7, form=self.form, dtype=self.dtype, name="input")(
      forms.lift(latents, self.form)
    )
    x = folding.refold(x, 1, folds[0])
    for stage, stride in enumerate(reversed(self.strides)):
      width //= 2
      x = layers.upsample(
        width,
        stride=stride,
        folds=(folds[stage], folds[stage + 1]),
        form=self.form,
        dtype=self.dtype,
        name=f"stage{stage}_up",
      )(forms.elu(x, self.form))
      for unit, dilation in enumerate(encoder.DILATIONS):
        x = residual_unit(
          self.residual_kernel,
          self.residual_hidden_ratio,
          dilation,
          folds[stage + 1],
          form=self.form,
          dtype=self.dtype,
          name=f"stage{stage}_unit{unit}",
        )(x)
    x = layers.conv(
      1,
      7,
      gain=layers.OUTPUT_GAIN,
      fold=folds[-1],
      form=self.form,
      dtype=self.dtype,
      name="output",
    )(forms.elu(x, self.form))
    return forms.lower(folding.refold(x, folds[-1], 1), self.form)
