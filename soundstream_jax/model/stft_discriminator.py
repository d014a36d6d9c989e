"""The discriminator on the complex STFT (paper section III-D, Fig. 4).

B: clips, T: samples, N: STFT frames, F: frequencies.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import precision
from soundstream_jax.audio import spectral
from soundstream_jax.convolution import granules, signal, spec
from soundstream_jax.model import discriminator_output as output
from soundstream_jax.model import initialise, layers

# Per residual unit: (time, frequency) strides, then channels of its two
# convolutions as multiples of the first layer's.
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
  dropped, so that six halvings leave window / 128. N is the number of whole
  windows in the audio: 90 for a second at 24 kHz, window 1024 and hop 256.

  Attributes:
    channels: of the first layer; the last residual unit has 16 times as many.
    window: of the STFT, in samples.
    hop: of the STFT, in samples.
    norm: 'layer', 'weight' or 'none'; 'layer' leaves out first and last layer.
    method: what computes the convolutions.
    dtype: of the convolutions.
    rematerialise: keeps the inputs of residual units alone for the gradient.
  """

  channels: int
  window: int
  hop: int
  norm: str
  method: signal.Method
  dtype: jax.typing.DTypeLike = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, audio: jax.Array) -> output.Output:
    """Judges audio [B, T, 1]; logits [B, ceil(N / 8), 1].

    Raises:
      ValueError: the audio is shorter than the window.
    """
    normed = self.norm == "weight"
    conv = functools.partial(layers.Conv, weight_norm=normed, dtype=self.dtype)
    first = spec.Spec(self.channels, (7, 7), padding=((3, 3), (3, 3)))
    x = output.activate(conv(first, name="first")(self._spectrum(audio)))
    features = [x]
    # The wave networks' features are all kept anyway, for the feature loss.
    unit = nn.remat(ResidualUnit) if self.rematerialise else ResidualUnit
    for index, (strides, *widths) in enumerate(_UNITS):
      widths = [self.channels * width for width in widths]
      name = f"unit_{index}"
      x = unit(*widths, strides, self.norm, self.dtype, name=name)(x)
      features.append(x)
    logits = spec.Spec(1, (1, x.space[1]))
    x = conv(logits, name="logits")(x)
    return output.judge(x.leave()[:, :, 0], features)

  def _spectrum(self, audio: jax.Array) -> signal.Signal:
    """Real and imaginary parts as channels, [B, N, F, 2]."""
    spectrum = spectral.stft(audio[:, :, 0], window=self.window, hop=self.hop)
    spectrum = spectrum[:, :, :-1] / _window_norm(self.window)
    x = jnp.stack([spectrum.real, spectrum.imag], axis=3)
    granule = granules.of("stft", x.shape[2])
    return signal.enter(
      x.astype(self.dtype),
      self.method,
      channels=self.channels,
      granule=granule,
    )


class ResidualUnit(nn.Module):
  """Fig. 4: 3 x 3, then (s_t + 2) x (s_f + 2) with strides, and a 1 x 1 skip.

  Each of the two layers ends in normalisation and activation; the second
  after the sum with the skip. Padding is zeros, so that a stride s makes
  ceil(n / s) of n.
  """

  hidden_channels: int
  channels: int
  strides: tuple[int, int]
  norm: str
  dtype: jax.typing.DTypeLike

  @nn.compact
  def __call__(self, x: signal.Signal) -> signal.Signal:
    weight_norm = {"weight": True, "layer": False, "none": False}[self.norm]
    conv = functools.partial(
      layers.Conv, weight_norm=weight_norm, dtype=self.dtype
    )
    first = spec.Spec(self.hidden_channels, (3, 3), padding=((1, 1), (1, 1)))
    y = conv(first, name="first")(x)
    y = self._finish(y, "first_norm")
    y = conv(self._second(y.space), name="second")(y)
    skip = spec.Spec(self.channels, (1, 1), strides=self.strides)
    y += conv(skip, name="skip")(x)
    return self._finish(y, "second_norm")

  def _second(self, space: tuple[int, ...]) -> spec.Spec:
    size = tuple(stride + 2 for stride in self.strides)
    padding = tuple(map(_same_padding, space, size, self.strides))
    return spec.Spec(self.channels, size, strides=self.strides, padding=padding)

  def _finish(self, x: signal.Signal, name: str) -> signal.Signal:
    """Normalises, where the norm is 'layer', and activates."""
    if self.norm == "layer":
      return ActivatedFrameNorm(name=name)(x)
    return output.activate(x)


class ActivatedFrameNorm(nn.Module):
  """Layer norm of x [B, N, F, C] per time step, over frequency and channels.

  Then the activation. Statistics in float32; scale and bias per channel.
  """

  @nn.compact
  def __call__(self, x: signal.Signal) -> signal.Signal:
    shape, dtype = (x.channels,), precision.of_parameters(x.values.dtype)
    scale = self.param("scale", initialise.constant(1.0), shape, dtype)
    bias = self.param("bias", initialise.constant(0.0), shape, dtype)
    return x.normalised(scale, bias, output.leaky)


def _window_norm(window: int) -> float:
  return float(np.linalg.norm(spectral.hann(window)))


def _same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
  """Zeros before and after, so that ceil(length / stride) outputs result."""
  total = max(0, (math.ceil(length / stride) - 1) * stride + size - length)
  return total // 2, total - total // 2
