"""Waveform to latents by fixed mel features: the encoder that learns nothing.

For the paper's comparison (section V-C): a mel filterbank in the encoder's
place, with quantizer and decoder learned as ever. The paper names neither sizes
nor scale: all of this is ours, and another definition needs another name in
config.model.encoder.

A frame is the last WINDOW_MS of audio up to its end, so it sees no more of the
future than a frame of the learned encoder: its own hop. Power spectrum under a
Hann window, as many mel filters as latents have dimensions, natural logarithm.
Written as two convolutions with kernels that are computed, so that every method
computes it, and a stream continues it.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from soundstream_jax import precision
from soundstream_jax.audio import spectral
from soundstream_jax.convolution import signal
from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array

# At least; of whole hops, and two of them.
WINDOW_MS = 40
# Added to every filter's power, relative to a sine of amplitude 1: -80 dB.
POWER_FLOOR = 1e-8
# Latents are from -LARGEST, silence, to LARGEST, a sine of amplitude 1; speech
# then has a standard deviation of about one.
LARGEST = 3.0


class MelEncoder(nn.Module):
  """[B, T, 1] -> [B, T / hop, embedding_dim]; without parameters.

  Attributes:
    sample_rate_hz: of the audio.
    hop_samples: samples per frame.
    embedding_dim: D, the number of filters.
    dtype: of the latents; they are computed in the parameters' precision.
  """

  sample_rate_hz: int
  hop_samples: int
  embedding_dim: int
  dtype: Any = jnp.float32

  @property
  def window(self) -> int:
    """Samples that a frame is made of, a multiple of the hop."""
    hops = -(-WINDOW_MS * self.sample_rate_hz // (1000 * self.hop_samples))
    return self.hop_samples * max(2, hops)

  @property
  def channels(self) -> int:
    """Of the first layer: real and imaginary parts."""
    return 2 * (self.window // 2 + 1)

  @nn.compact
  def __call__(self, audio: signal.Signal) -> signal.Signal:
    wide = precision.of_parameters(self.dtype)
    spectrum = spec_lib.strided(self.channels, self.window, self.hop_samples)
    filters = spec_lib.causal(self.embedding_dim, 1)
    # Full float32 on accelerators, whose default is fewer bits.
    with jax.default_matmul_precision("highest"):
      x = _Fixed(spectrum, self._fourier, dtype=wide, name="spectrum")(audio)
      x = x.map(jnp.square)
      x = _Fixed(filters, self._filters, dtype=wide, name="filters")(x)
    x = x.map(scaled_log)
    return x.replace(values=x.values.astype(self.dtype))

  def _fourier(self, dtype) -> tuple[Array, Array]:
    """Returns kernel [window, 1, channels] and bias: the DFT under a window.

    A sine of amplitude a has the power a^2 at its frequency.
    """
    window = self.window
    shape = (window, window // 2 + 1)
    # Integers, so that the angle is exact before it is rounded once; computed
    # on the device, because the constant would be megabytes.
    turns = lax.broadcasted_iota(jnp.int32, shape, 0)
    turns = turns * lax.broadcasted_iota(jnp.int32, shape, 1) % window
    angle = turns.astype(dtype) * jnp.asarray(2 * np.pi / window, dtype)
    waves = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)
    hann = spectral.hann(window).astype(np.float64)
    weights = jnp.asarray(2 * hann / hann.sum(), dtype)
    kernel = weights[:, None] * waves
    return kernel[:, None, :], jnp.zeros((self.channels,), dtype)

  def _filters(self, dtype) -> tuple[Array, Array]:
    """Returns kernel [1, channels, D] and bias: filters, and the floor."""
    one = spectral.mel_filterbank(
      self.sample_rate_hz, self.window, self.embedding_dim
    )
    one = jnp.asarray(one, dtype)
    kernel = jnp.concatenate([one, one])[None]
    return kernel, jnp.full((self.embedding_dim,), POWER_FLOOR, dtype)


class _Fixed(nn.Module):
  """A convolution whose kernel and bias are computed: dtype -> both."""

  spec: spec_lib.Spec
  make: Callable[[Any], tuple[Array, Array]]
  dtype: Any

  @nn.compact
  def __call__(self, x: signal.Signal) -> signal.Signal:
    return x.convolved(
      self.spec,
      lambda: self.make(self.dtype),
      self.variable,
      dtype=self.dtype,
    )


def scaled_log(power: Array) -> Array:
  """Power with POWER_FLOOR -> latents, as LARGEST says."""
  middle = 0.5 * float(np.log(POWER_FLOOR))
  return (jnp.log(power) - middle) * (LARGEST / -middle)
