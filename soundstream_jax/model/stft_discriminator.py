"""The discriminator on the complex STFT (paper section III-D, Fig. 4).

B: clips, T: samples, N: STFT frames, F: frequencies. On a TPU neighbouring
frequencies of the first levels, whose channels fill no vector, are folded into
channels (see `folding`).
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import precision
from soundstream_jax.audio import spectral
from soundstream_jax.convolution.tpu import folding
from soundstream_jax.model import (
  dense_convolution,
  initialise,
)
from soundstream_jax.model import discriminator_output as judgement

# Per residual unit: (time, frequency) strides, then channels of its two
# convolutions as multiples of stft_channels.
_UNITS = (
  ((1, 2), 1, 2),
  ((2, 2), 2, 4),
  ((1, 2), 4, 4),
  ((2, 2), 4, 8),
  ((1, 2), 8, 8),
  ((2, 2), 8, 16),
)


class StftDiscriminator(nn.Module):
  """Residual network on real and imaginary parts, 8 frames per logit.

  F = window / 2 frequencies: the last bin, at the Nyquist frequency, is
  dropped, so that six halvings leave window / 128.

  Attributes:
    channels: of the first layer; the last residual unit has 16 times as many.
    norm: 'layer', 'weight' or 'none'; 'layer' leaves out first and last layer.
  """

  channels: int
  window: int
  hop: int
  norm: str
  form: str = "blocks"
  dtype: jax.typing.DTypeLike = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, audio: jax.Array) -> judgement.Output:
    """Judges audio [B, T, 1]; logits [B, ceil(N / 8), 1].

    N is the number of whole windows in the audio: 90 for a second at 24 kHz,
    window 1024 and hop 256.

    Raises:
      ValueError: the audio is shorter than the window.
    """
    spectrum = spectral.stft(audio[:, :, 0], window=self.window, hop=self.hop)
    spectrum = spectrum[:, :, :-1] / _window_norm(self.window)
    x = jnp.stack([spectrum.real, spectrum.imag], axis=3)
    folds = _frequency_folds(self.form, self.channels, x.shape[2])
    conv = functools.partial(
      dense_convolution.Conv,
      weight_norm=self.norm == "weight",
      form=self.form,
      dtype=self.dtype,
    )
    x = conv(
      self.channels,
      (7, 7),
      padding=((3, 3), (3, 3)),
      folds=(folds[0], folds[0]),
      name="first",
    )(folding.refold(x.astype(self.dtype), 1, folds[0]))
    x = judgement.activate(x)
    features = [x]
    # The wave networks' features are all kept anyway, for the feature loss.
    unit = nn.remat(ResidualUnit) if self.rematerialise else ResidualUnit
    for index, (strides, hidden, outputs) in enumerate(_UNITS):
      x = unit(
        hidden_channels=hidden * self.channels,
        channels=outputs * self.channels,
        strides=strides,
        norm=self.norm,
        form=self.form,
        folds=tuple(folds[index : index + 2]),
        dtype=self.dtype,
        name=f"unit_{index}",
      )(x)
      features.append(x)
    x = folding.refold(x, folds[-1], 1)
    logits = conv(1, (1, x.shape[2]), name="logits")(x)
    return judgement.judge(logits[:, :, 0], features)


class ResidualUnit(nn.Module):
  """3 x 3, then (s_t + 2) x (s_f + 2) with strides, around a strided 1 x 1.

  Each of the two layers ends in normalisation and activation; the second
  after the sum with the skip. Padding is zeros, so that a stride s makes
  ceil(n / s) of n.
  """

  hidden_channels: int
  channels: int
  strides: tuple[int, int]
  norm: str
  dtype: jax.typing.DTypeLike
  form: str = "blocks"
  folds: tuple[int, int] = (1, 1)  # of frequency, before and after

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    conv = functools.partial(
      dense_convolution.Conv,
      weight_norm={"weight": True, "layer": False, "none": False}[self.norm],
      form=self.form,
      dtype=self.dtype,
    )
    before, after = self.folds
    y = conv(
      self.hidden_channels,
      (3, 3),
      padding=((1, 1), (1, 1)),
      folds=(before, before),
      name="first",
    )(x)
    y = judgement.activate(self._normalise(y, "first_norm", before))
    size = tuple(s + 2 for s in self.strides)
    y = conv(
      self.channels,
      size,
      strides=self.strides,
      padding=tuple(
        _same_padding(length, size[i], self.strides[i])
        for i, length in enumerate((y.shape[1], y.shape[2] * before))
      ),
      folds=self.folds,
      name="second",
    )(y)
    if self.folds == (1, 1):
      x = x[:, :: self.strides[0], :: self.strides[1]]
      skip = conv(self.channels, (1, 1), name="skip")(x)
    else:
      skip = conv(
        self.channels,
        (1, 1),
        strides=self.strides,
        folds=self.folds,
        name="skip",
      )(x)
    return judgement.activate(self._normalise(y + skip, "second_norm", after))

  def _normalise(self, x: jax.Array, name: str, fold: int) -> jax.Array:
    return FrameNorm(fold, name=name)(x) if self.norm == "layer" else x


class FrameNorm(nn.Module):
  """Layer norm of x [B, N, F, C] per time step, over frequency and channels.

  Statistics in float32; scale and bias per channel.
  """

  fold: int = 1  # frequencies to a block: [B, N, F / fold, fold * C]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    channels = (x.shape[-1] // self.fold,)
    dtype = precision.of_parameters(x.dtype)
    scale = self.param("scale", initialise.constant(1.0), channels, dtype)
    bias = self.param("bias", initialise.constant(0.0), channels, dtype)
    y = precision.widened(x)
    y = y - jnp.mean(y, axis=(2, 3), keepdims=True)
    variance = jnp.mean(jnp.square(y), axis=(2, 3), keepdims=True)
    y = y * jax.lax.rsqrt(variance + 1e-5)
    scale, bias = (
      jnp.tile(p, self.fold).reshape(1, 1, 1, -1) for p in (scale, bias)
    )
    y = y * scale + bias
    return y.astype(x.dtype)


def _frequency_folds(form: str, channels: int, frequencies: int) -> list[int]:
  """Frequencies to a block (see `folding`), before and after every unit."""
  widths = [channels, *(outputs * channels for *_, outputs in _UNITS)]
  strides = [stride for (_, stride), *_ in _UNITS]
  total = math.prod(strides)
  if form != "lanes" or frequencies % total:
    return [1] * len(widths)
  return folding.factors(widths, [*strides, frequencies // total])


def _window_norm(window: int) -> float:
  return float(np.linalg.norm(spectral.hann(window)))


def _same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
  """Zeros before and after, so that ceil(length / stride) outputs result."""
  total = max(0, (math.ceil(length / stride) - 1) * stride + size - length)
  return total // 2, total - total // 2
