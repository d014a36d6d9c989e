"""The discriminators: on the complex STFT, and several on the waveform.

Paper section III-D. B: clips, T: samples, N: STFT frames, F: frequencies.
The wave networks are MelGAN's, on the waveform and on averages of it at half
and quarter rate; the STFT network is a stack of residual units that halves
frequency six times and time three times. The paper names neither activation
nor normalisation: LeakyReLU(0.2), weight norm for the wave networks and layer
norm for the STFT network are our defaults, and so is the scale of the STFT,
which is divided by the norm of its window: noise keeps its level. The paper has
one STFT network; `stft_windows` makes several, each with a window of its own.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import config as configuration
from soundstream_jax import precision
from soundstream_jax.convolution import signal
from soundstream_jax.model import (
  discriminator_output,
  stft_discriminator,
  wave_discriminator,
)

_POOL, _POOL_STRIDE, _POOL_PAD = 4, 2, 1


class Discriminator(nn.Module):
  """All discriminators on one waveform.

  Attributes:
    config: sizes and normalisations.
    method: what computes the convolutions.
    dtype: of the convolutions; parameters, STFT and outputs stay float32.
  """

  config: configuration.Discriminator
  method: signal.Method
  dtype: jax.typing.DTypeLike = jnp.float32
  rematerialise: bool = False

  @nn.compact
  def __call__(self, audio: jax.Array) -> list[discriminator_output.Output]:
    """Judges audio [B, T, 1]: by STFTs, then by waves from full rate down.

    Those that the configuration has.

    Raises:
      ValueError: the audio is shorter than an STFT window.
      InputError: the channels of a wave network do not divide into groups.
    """
    c = self.config
    outputs = []
    for name, (window, hop) in c.stft_networks.items():
      network = stft_discriminator.StftDiscriminator(
        channels=c.stft_channels,
        window=window,
        hop=hop,
        norm=c.stft_norm,
        method=self.method,
        dtype=self.dtype,
        rematerialise=self.rematerialise,
        name=name,
      )
      outputs.append(network(audio))
    audio = precision.widened(audio)
    for scale in range(c.wave_scales):
      if scale:
        audio = average_pool(audio)
      outputs.append(
        wave_discriminator.WaveDiscriminator(
          channels=c.wave_channels,
          max_channels=c.wave_max_channels,
          norm=c.wave_norm,
          method=self.method,
          dtype=self.dtype,
          name=f"wave_{scale}",
        )(audio)
      )
    return outputs


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
