"""MelGAN's discriminator on the waveform, as the paper takes it (III-D)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import errors
from soundstream_jax.convolution import granules, signal, spec
from soundstream_jax.model import discriminator_output as output
from soundstream_jax.model import layers

_INPUTS_PER_GROUP = 4
_STAGES = 4
_STRIDE = 4


class WaveDiscriminator(nn.Module):
  """MelGAN's discriminator of one scale, 256 samples per logit.

  Attributes:
    channels: of the first layer; each of four stages has four times as many.
    max_channels: where that stops.
    norm: 'weight' or 'none'.
    method: what computes the convolutions.
    dtype: of the convolutions.
  """

  channels: int
  max_channels: int
  norm: str
  method: signal.Method
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, audio: jax.Array) -> output.Output:
    """Judges audio [B, T, 1]; logits [B, ceil(T / 256), 1]."""
    weight_norm = {"weight": True, "none": False}[self.norm]
    conv = functools.partial(
      layers.Conv, weight_norm=weight_norm, dtype=self.dtype
    )
    x = conv(spec.Spec(self.channels, (15,)), name="first")(self._enter(audio))
    x = output.activate(x)
    features = [x]
    for stage in range(_STAGES):
      x = conv(self._stage(x.channels), name=f"stage_{stage}")(x)
      x = output.activate(x)
      features.append(x)
    mix = spec.Spec(x.channels, (5,), padding=((2, 2),))
    x = output.activate(conv(mix, name="mix")(x))
    features.append(x)
    logits = spec.Spec(1, (3,), padding=((1, 1),))
    return output.judge(conv(logits, name="logits")(x).leave(), features)

  def _enter(self, audio: jax.Array) -> signal.Signal:
    """Mirrors the audio at its ends, so that a kernel of 15 keeps its length."""
    granule = granules.of(
      "wave", audio.shape[1], width=self._wider(self.channels)
    )
    x = jnp.pad(audio, ((0, 0), (7, 7), (0, 0)), mode="reflect")
    return signal.enter(
      x.astype(self.dtype),
      self.method,
      channels=self.channels,
      granule=granule,
    )

  def _wider(self, channels: int) -> int:
    return min(4 * channels, self.max_channels)

  def _stage(self, channels: int) -> spec.Spec:
    """A strided layer of groups of four channels.

    Raises:
      InputError: the channels do not divide into groups.
    """
    groups, wider = max(1, channels // _INPUTS_PER_GROUP), self._wider(channels)
    if channels % groups or wider % groups:
      raise errors.InputError(
        f"discriminator.wave_channels={self.channels} and "
        f"wave_max_channels={self.max_channels}: a stage from {channels} to "
        f"{wider} channels does not divide into {groups} groups. Use powers "
        "of two, the larger for wave_max_channels."
      )
    strides, padding = (_STRIDE,), ((20, 20),)
    return spec.Spec(
      wider, (41,), strides=strides, padding=padding, groups=groups
    )
