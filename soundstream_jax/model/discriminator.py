"""The discriminators: one on the complex STFT, several on the waveform.

Paper section III-D. B: clips, T: samples, N: STFT frames, F: frequencies.
The wave networks are MelGAN's, on the waveform and on averages of it at half
and quarter rate; the STFT network is a stack of residual units that halves
frequency six times and time three times. The paper names neither activation
nor normalisation: LeakyReLU(0.2), weight norm for the wave networks and layer
norm for the STFT network are our defaults, and so is the scale of the STFT,
which is divided by the norm of its window: noise keeps its level.
"""

import functools
import math
from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import config as configuration
from soundstream_jax import errors, precision
from soundstream_jax.audio import spectral
from soundstream_jax.model import dense_convolution, folding, initialise

_LEAK = 0.2
_INPUTS_PER_GROUP = 4
_WAVE_STAGES = 4
_POOL, _POOL_STRIDE, _POOL_PAD = 4, 2, 1
# Per residual unit: (time, frequency) strides, then channels of its two
# convolutions as multiples of stft_channels.
_STFT_UNITS = (
  ((1, 2), 1, 2),
  ((2, 2), 2, 4),
  ((1, 2), 4, 4),
  ((2, 2), 4, 8),
  ((1, 2), 8, 8),
  ((2, 2), 8, 16),
)


@flax.struct.dataclass
class Output:
  """What one discriminator says about a batch; float32."""

  logits: jax.Array  # [B, T_k, 1], above 0 for real
  # Activations of every layer but the last: [B, T_l, C_l] of a wave network,
  # [B, N_l, F_l / f, f * C_l] of the STFT network, f frequencies to a block.
  features: list[jax.Array]


class Discriminator(nn.Module):
  """All discriminators on one waveform.

  Attributes:
    config: sizes and normalisations.
    form: of the convolutions (see `dense_convolution.convolve`).
    dtype: of the convolutions; parameters, STFT and outputs stay float32.
  """

  config: configuration.Discriminator
  form: str = "blocks"
  dtype: jax.typing.DTypeLike = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, audio: jax.Array) -> list[Output]:
    """Judges audio [B, T, 1]: the STFT network, then waves from full rate down.

    Raises:
      ValueError: the audio is shorter than the STFT window.
      InputError: the channels of a wave network do not divide into groups.
    """
    c = self.config
    outputs = [
      StftDiscriminator(
        channels=c.stft_channels,
        window=c.stft_window,
        hop=c.stft_hop,
        norm=c.stft_norm,
        form=self.form,
        dtype=self.dtype,
        rematerialise=self.rematerialise,
        name="stft",
      )(audio)
    ]
    audio = precision.widened(audio)
    for scale in range(c.wave_scales):
      if scale:
        audio = average_pool(audio)
      outputs.append(
        WaveDiscriminator(
          channels=c.wave_channels,
          max_channels=c.wave_max_channels,
          norm=c.wave_norm,
          form=self.form,
          dtype=self.dtype,
          name=f"wave_{scale}",
        )(audio)
      )
    return outputs


class WaveDiscriminator(nn.Module):
  """MelGAN's discriminator of one scale, 256 samples per logit.

  Attributes:
    channels: of the first layer; each of four stages has four times as many.
    max_channels: where that stops.
    norm: 'weight' or 'none'.
  """

  channels: int
  max_channels: int
  norm: str
  form: str = "blocks"
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, audio: jax.Array) -> Output:
    """Judges audio [B, T, 1]; logits [B, ceil(T / 256), 1]."""
    conv = functools.partial(
      dense_convolution.Conv,
      weight_norm={"weight": True, "none": False}[self.norm],
      form=self.form,
      dtype=self.dtype,
    )
    channels = self.channels
    reflected = jnp.pad(audio, ((0, 0), (7, 7), (0, 0)), mode="reflect")
    x = conv(channels, (15,), name="first")(reflected.astype(self.dtype))
    x = _activate(x)
    features = [x]
    for stage in range(_WAVE_STAGES):
      groups = max(1, channels // _INPUTS_PER_GROUP)
      wider = min(4 * channels, self.max_channels)
      if channels % groups or wider % groups:
        raise errors.InputError(
          f"discriminator.wave_channels={self.channels} and "
          f"wave_max_channels={self.max_channels}: a stage from {channels} to "
          f"{wider} channels does not divide into {groups} groups. Use powers "
          "of two, the larger for wave_max_channels."
        )
      x = conv(
        wider,
        (41,),
        strides=(4,),
        padding=((20, 20),),
        groups=groups,
        name=f"stage_{stage}",
      )(x)
      x = _activate(x)
      features.append(x)
      channels = wider
    x = conv(
      channels,
      (5,),
      padding=((2, 2),),
      name="mix",
    )(x)
    x = _activate(x)
    features.append(x)
    logits = conv(
      1,
      (3,),
      padding=((1, 1),),
      name="logits",
    )(x)
    return _output(logits, features)


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
  def __call__(self, audio: jax.Array) -> Output:
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
    x = _activate(x)
    features = [x]
    # The wave networks' features are all kept anyway, for the feature loss.
    unit = nn.remat(ResidualUnit) if self.rematerialise else ResidualUnit
    for index, (strides, hidden, outputs) in enumerate(_STFT_UNITS):
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
    return _output(logits[:, :, 0], features)


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
    y = _activate(self._normalise(y, "first_norm", before))
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
    return _activate(self._normalise(y + skip, "second_norm", after))

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
  widths = [channels, *(outputs * channels for *_, outputs in _STFT_UNITS)]
  strides = [stride for (_, stride), *_ in _STFT_UNITS]
  total = math.prod(strides)
  if form != "lanes" or frequencies % total:
    return [1] * len(widths)
  return folding.factors(widths, [*strides, frequencies // total])


def average_pool(audio: jax.Array) -> jax.Array:
  """Halves the rate of audio [B, T, 1]: means of 4 samples, 2 apart.

  One sample of padding on both sides does not count in the means. Returns
  [B, T // 2, 1].
  """
  samples = audio.shape[1]
  pooled = (samples + 2 * _POOL_PAD - _POOL) // _POOL_STRIDE + 1

  def sums(x):
    x = jnp.pad(x, ((0, 0), (_POOL_PAD, _POOL_PAD), (0, 0)))
    end = _POOL_STRIDE * (pooled - 1) + 1
    return sum(x[:, i : i + end : _POOL_STRIDE] for i in range(_POOL))

  return sums(audio) / sums(jnp.ones((1, samples, 1), audio.dtype))


def _window_norm(window: int) -> float:
  return float(np.linalg.norm(spectral.hann(window)))


def _same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
  """Zeros before and after, so that ceil(length / stride) outputs result."""
  total = max(0, (math.ceil(length / stride) - 1) * stride + size - length)
  return total // 2, total - total // 2


def _activate(x: jax.Array) -> jax.Array:
  return nn.leaky_relu(x, _LEAK)


def _output(logits: jax.Array, features: Sequence[jax.Array]) -> Output:
  return Output(
    logits=precision.widened(logits),
    features=[precision.widened(feature) for feature in features],
  )
