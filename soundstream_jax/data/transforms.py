"""What happens to one record before it is in a batch, in numpy.

Callables (element, generator) -> element, for Grain's `random_map`. They run
in worker processes, so this module loads neither jax nor Grain.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from soundstream_jax.audio import io


@dataclasses.dataclass(frozen=True)
class Crop:
  """Takes a random part; a shorter record lies at a random place in zeros."""

  crop_samples: int

  def __call__(
    self, record: Mapping[str, Any], rng: np.random.Generator
  ) -> np.ndarray:
    """{audio: int16 [N], ...} -> int16 [crop_samples]."""
    audio = record["audio"]
    spare = len(audio) - self.crop_samples
    at = int(rng.integers(abs(spare) + 1))
    if spare >= 0:
      return audio[at : at + self.crop_samples]
    crop = np.zeros(self.crop_samples, np.int16)
    crop[at : at + len(audio)] = audio
    return crop


@dataclasses.dataclass(frozen=True)
class Gain:
  """Scales by a gain uniform in dB, or by less where that would clip."""

  low_db: float
  high_db: float

  def __call__(self, pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int16 [T] -> float32 [T, 1] within [-1, 1]."""
    gain = np.float32(10 ** (rng.uniform(self.low_db, self.high_db) / 20))
    audio = io.to_float32(pcm)[:, None]
    peak = float(np.abs(audio).max())
    if float(gain) * peak > 1:
      # One float below 1/peak, so that rounding cannot lead beyond 1 again.
      gain = np.nextafter(np.float32(1 / peak), np.float32(0))
    return audio * gain
