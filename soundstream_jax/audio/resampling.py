"""Sample rates, converted by soxr: of whole clips, and of sound as it comes."""

import numpy as np
import soxr

from soundstream_jax import rates
from soundstream_jax.audio import waveform

_QUALITY = "HQ"


def resample(
  audio: np.ndarray, rate_in_hz: int, rate_out_hz: int
) -> np.ndarray:
  """Returns [M, C] with M = rates.resampled_length(N, ...), exactly."""
  audio = np.asarray(audio, np.float32)
  if rate_in_hz == rate_out_hz or not len(audio):
    return audio
  length = rates.resampled_length(len(audio), rate_in_hz, rate_out_hz)
  resampled = soxr.resample(audio, rate_in_hz, rate_out_hz, quality=_QUALITY)
  return waveform.fit(resampled, length)


class Resampler:
  """Converts sound as it comes: its memory joins blocks without a seam.

  In all it gives `rates.resampled_length` samples, those of `resample` up to
  float rounding.
  """

  def __init__(self, rate_in_hz: int, rate_out_hz: int, channels: int = 1):
    self._rates = rate_in_hz, rate_out_hz
    self._nothing = np.zeros((0, channels), np.float32)
    self._taken = self._given = 0
    self._stream = None
    if rate_in_hz != rate_out_hz:
      self._stream = soxr.ResampleStream(
        rate_in_hz, rate_out_hz, channels, dtype="float32", quality=_QUALITY
      )

  def push(self, block: np.ndarray) -> np.ndarray:
    """Takes float32 [N, C], any N; returns [M, C] of what came so far."""
    if self._stream is None or not len(block):
      return block
    self._taken += len(block)
    return self._give(block, last=False)

  def flush(self) -> np.ndarray:
    """Returns [M, C], all that is left; nothing can be pushed after it."""
    if self._stream is None:
      return self._nothing
    length = rates.resampled_length(self._taken, *self._rates) - self._given
    return waveform.fit(self._give(self._nothing, last=True), length)

  def _give(self, block: np.ndarray, *, last: bool) -> np.ndarray:
    channels = self._nothing.shape[1]
    # soxr takes one channel as [N] or [N, 1], and gives it as it was taken.
    found = self._stream.resample_chunk(np.ascontiguousarray(block), last=last)
    found = found.reshape(-1, channels)
    self._given += len(found)
    return found
