"""MelGAN's discriminator on the waveform, as the paper takes it (III-D)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import errors
from soundstream_jax.convolution.tpu import folding
from soundstream_jax.model import dense_convolution
from soundstream_jax.model import discriminator_output as judgement

_INPUTS_PER_GROUP = 4
_STAGES = 4
_STRIDE = 4
# Most samples to a block after the first stage.
_FOLDED = 2


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
  def __call__(self, audio: jax.Array) -> judgement.Output:
    """Judges audio [B, T, 1]; logits [B, ceil(T / 256), 1]."""
    conv = functools.partial(
      dense_convolution.Conv,
      weight_norm={"weight": True, "none": False}[self.norm],
      form=self.form,
      dtype=self.dtype,
    )
    channels = self.channels
    folds = _folds(
      self.form, channels, min(4 * channels, self.max_channels), audio.shape[1]
    )
    x = jnp.pad(audio, ((0, 0), (7, 7), (0, 0)), mode="reflect")
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % folds[0]), (0, 0)))
    x = folding.refold(x.astype(self.dtype), 1, folds[0])
    x = conv(channels, (15,), folds=folds[:1] * 2, name="first")(x)
    x = judgement.activate(x[:, : audio.shape[1] // folds[0]])
    features = [x]
    for stage in range(_STAGES):
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
        strides=(_STRIDE,),
        padding=((20, 20),),
        groups=groups,
        folds=folds[stage : stage + 2],
        name=f"stage_{stage}",
      )(x)
      x = judgement.activate(x)
      features.append(x)
      channels = wider
    x = conv(
      channels,
      (5,),
      padding=((2, 2),),
      name="mix",
    )(x)
    x = judgement.activate(x)
    features.append(x)
    logits = conv(
      1,
      (3,),
      padding=((1, 1),),
      name="logits",
    )(x)
    return judgement.judge(logits, features)


def _folds(
  form: str, channels: int, wider: int, samples: int
) -> tuple[int, ...]:
  """Samples to a block (see `folding`) of each level, from full rate down."""
  levels = _STAGES + 1
  if form != "lanes" or samples % _STRIDE**2:
    return (1,) * levels
  if wider > dense_convolution.BLOCK_INPUTS[form]:  # groups stay apart
    return (1,) * levels
  first = folding.factor(channels, _STRIDE * _FOLDED)
  return (first, folding.factor(wider, _FOLDED), *(1,) * (levels - 2))
