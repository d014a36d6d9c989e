"""Sound of one file as a clip: mixed, at the model's rate, its loudest part."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from soundstream_jax import console, errors
from soundstream_jax.audio import reading, resampling, waveform
from soundstream_jax.metrics import clips

# Parts of a clip between the starts that are tried for the loudest.
_PARTS = 8


@dataclasses.dataclass(frozen=True)
class Reader:
  """Reads the loudest part of a file, or all of it."""

  path: pathlib.Path
  sample_rate_hz: int
  hop: int
  longest: int  # samples, whole hops
  digest: str = ""  # that it must have; '': not known yet

  def __call__(self) -> np.ndarray:
    """Returns float32 [T], T whole hops, at most `longest`.

    Raises:
      InputError: it cannot be read, is damaged, silent, or shorter than a hop.
    """
    name = console.shown(self.path)
    with reading.opened(self.path, name=name) as sound:
      audio = loudest(self._blocks(sound), self.longest)
      if sound.damage:
        raise errors.InputError(f"{name}: {sound.damage}")
    audio = audio[: whole_hops(len(audio), self.hop)]
    if not len(audio):
      raise errors.InputError(
        f"{name}: it is shorter than the model's hop of "
        f"{self.hop / self.sample_rate_hz:.3f} s"
      )
    if is_silent(audio):
      raise errors.InputError(f"{name}: it is silent")
    if self.digest and digest_of(audio, self.sample_rate_hz) != self.digest:
      raise errors.InputError(
        f"{name}: it has changed since the evaluation was begun. Run the same "
        "command again."
      )
    return audio

  def _blocks(self, sound: reading.Sound) -> Iterator[np.ndarray]:
    """Yields [n] of the whole sound at the model's rate."""
    resampler = resampling.Resampler(sound.rate_hz, self.sample_rate_hz)

    def checked(block):
      return reading.checked(block, sound.name, 0.0, self.sample_rate_hz)[:, 0]

    for block in sound.blocks():
      yield checked(resampler.push(waveform.to_mono(block)[:, None]))
    yield checked(resampler.flush())


def loudest(blocks: Iterable[np.ndarray], longest: int) -> np.ndarray:
  """Returns the loudest [longest] of sound [N], all of it if N is less.

  Starts are tried every 1/8 of it. Nothing grows with N.
  """
  step = max(1, longest // _PARTS)
  window = np.zeros(0, np.float32)  # begins at a start that is tried
  best, loudness = window, -1.0
  for block in blocks:
    window = np.concatenate([window, block])
    first = 0
    while len(window) - first >= longest:
      tried = window[first : first + longest]
      power = float(np.dot(tried, tried))
      if power > loudness:
        best, loudness = tried.copy(), power
      first += step
    window = window[first:]
  return best if len(best) else window


def whole_hops(samples: int, hop: int) -> int:
  return samples // hop * hop


def is_silent(audio: np.ndarray) -> bool:
  """Whether no metric can compare anything with this sound."""
  return float(np.std(audio, dtype=np.float64)) < clips.SILENT_RMS


def digest_of(audio: np.ndarray, rate_hz: int) -> str:
  data = np.ascontiguousarray(audio, "<f4").tobytes()
  return hashlib.sha256(f"{rate_hz} ".encode() + data).hexdigest()
