"""Controls: what says whether a model's distances mean anything.

Stationary noise with the training data's mean spectrum is what a model that has
learnt nothing but loudness could play, and codes swapped between clips of a
class are what a model whose codes carry nothing would survive.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.data import held_out

# Clips of the training split whose mean spectrum the noise control has.
SPECTRUM_CLIPS = 24
_WINDOW = 1024


@dataclasses.dataclass(frozen=True)
class Spectrum:
  """Mean magnitudes of windows of sound, relative to white noise of power 1."""

  magnitude: np.ndarray  # float64 [_WINDOW // 2 + 1]

  @property
  def digest(self) -> str:
    return hashlib.sha256(self.magnitude.tobytes()).hexdigest()

  def noise(self, samples: int, *, seed: int) -> np.ndarray:
    """Returns Gaussian noise of this spectrum, float32 [samples]."""
    rng = np.random.default_rng((0, seed))
    white = np.fft.rfft(rng.normal(size=samples))
    response = np.interp(
      np.linspace(0, 1, len(white)),
      np.linspace(0, 1, len(self.magnitude)),
      self.magnitude,
    )
    return np.fft.irfft(white * response, n=samples).astype(np.float32)


def spectrum(training: np.ndarray) -> Spectrum:
  """Measures clips [M, T, 1].

  Mean magnitudes, not mean powers: the distance compares logarithms, and a few
  loud moments would make noise of the mean power too loud for all the others.
  """
  frames = training[:, :, 0]
  frames = frames[:, : frames.shape[1] // _WINDOW * _WINDOW]
  frames = frames.reshape(-1, _WINDOW) * np.hanning(_WINDOW)
  magnitude = np.mean(np.abs(np.fft.rfft(frames)), axis=0)
  # Mean magnitude of windowed unit noise: sqrt(pi / 4 * sum of squares).
  unit = np.sqrt(np.pi / 4 * np.sum(np.hanning(_WINDOW) ** 2))
  return Spectrum(magnitude / unit)


def of_training(config: config_lib.Config) -> Spectrum | None:
  """Returns the spectrum of what a model was trained on.

  None where its datasets are not here, as an exported model's may not be.
  """
  try:
    clips = held_out.train_clips(config, SPECTRUM_CLIPS)
  except errors.InputError:
    return None
  return spectrum(clips.audio)


def partners(classes: Sequence[object]) -> list[int]:
  """For every clip the next one of its class, in a ring.

  A class with one clip takes the next clip of any class.
  """
  found = []
  for index, own in enumerate(classes):
    ring = [i for i, other in enumerate(classes) if other == own]
    if len(ring) == 1:
      ring = list(range(len(classes)))
    found.append(ring[(ring.index(index) + 1) % len(ring)])
  return found
