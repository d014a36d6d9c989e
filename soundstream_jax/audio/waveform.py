"""Channels, lengths and int16 of waveforms, in numpy."""

import numpy as np


def to_mono(audio: np.ndarray) -> np.ndarray:
  """[N, C] -> [N], the mean of the channels.

  Infinite where finite samples add up to more than float32 has.
  """
  if audio.shape[1] == 1:
    return audio[:, 0]
  with np.errstate(over="ignore", invalid="ignore"):
    return audio.mean(axis=1, dtype=np.float32)


def to_int16(audio: np.ndarray) -> np.ndarray:
  """float in [-1, 1] -> int16, rounded; clipped beyond, never wrapped.

  Raises:
    ValueError: samples that are not finite.
  """
  audio = np.asarray(audio, np.float32)
  if not np.isfinite(audio).all():
    raise ValueError("audio has samples that are NaN or infinite")
  # Clipped first: the largest samples of float32 cannot be scaled.
  scaled = np.rint(np.clip(audio, -1, 1) * np.float32(32768))
  return np.clip(scaled, -32768, 32767).astype(np.int16)


def to_float32(pcm: np.ndarray) -> np.ndarray:
  """int16 -> float32 in [-1, 1), by 32768; `to_int16` undoes it exactly."""
  return pcm.astype(np.float32) / np.float32(32768)


def fit(audio: np.ndarray, length: int) -> np.ndarray:
  """Cuts the end off or pads it with zeros: soxr rounds in its own way."""
  if len(audio) >= length:
    return audio[:length]
  padding = [(0, length - len(audio))] + [(0, 0)] * (audio.ndim - 1)
  return np.pad(audio, padding)
