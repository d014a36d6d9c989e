"""Encodes a recording of any rate and length, block by block.

Its channels are mixed or stay apart, and get the model's rate; each then is a
clip of its own, whose codes depend on nothing but its own sound.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from soundstream_jax.audio import reading, resampling, waveform
from soundstream_jax.codec import offline, trained_model


class Sound(Protocol):
  """The sound of a recording, to be read once; `audio.reading` has files'.

  Attributes:
    name: what messages call it.
    rate_hz, channels: of the recording.
  """

  name: str
  rate_hz: int
  channels: int

  def blocks(self) -> Iterator[np.ndarray]:
    """Yields float32 [N, C] at `rate_hz`, all finite."""


def encode(
  model: trained_model.TrainedModel,
  sound: Sound,
  *,
  mono: bool = False,
  bitrate_bps: float | None = None,
  denoise: bool = False,
) -> Iterator[tuple[int, np.ndarray]]:
  """Encodes as much of a sound at a time as is read at a time.

  Args:
    model: that encodes.
    sound: not read yet.
    mono: the mean of the channels, instead of each.
    bitrate_bps: of a channel, one of the model's; None is the highest.
    denoise: takes noise away from speech.

  Yields:
    Samples of the sound that were read, and the next int32 codes [C, F, q];
    either may be none.

  Raises:
    InputError: the sound cannot be read, or is not finite, also once it is
      mixed and resampled; or the model cannot do it.
  """
  channels, rate_hz = 1 if mono else sound.channels, model.rates.sample_rate_hz
  resampler = resampling.Resampler(sound.rate_hz, rate_hz, channels)
  encoder = offline.ClipEncoder(
    model, channels=channels, bitrate_bps=bitrate_bps, denoise=denoise
  )
  samples = 0

  def push(block: np.ndarray) -> np.ndarray:
    seconds = samples / sound.rate_hz
    reading.checked(block, sound.name, seconds, rate_hz)
    return encoder.push(block.T)

  for block in sound.blocks():
    audio = waveform.to_mono(block)[:, None] if mono else block
    yield len(block), push(resampler.push(audio))
    samples += len(block)
  yield 0, push(resampler.flush())
  yield 0, encoder.flush()
