"""Decodes an audio file to one piece of int16 mono, and measures the file."""

import dataclasses
import os
from typing import Any

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import reading, resampling, waveform
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.audio import measure
from soundstream_jax.data_pipelines.preparation import records

ROOM_PEAK = 0.9


@dataclasses.dataclass(frozen=True)
class Skipped:
  """A file of which nothing is used."""

  name: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Damaged:
  """A file that is used as far as it goes."""

  name: str
  reason: str


def decode(
  file: corpus.File, *, kind: str, sample_rate_hz: int, sound: measure.Sound
) -> records.Piece | Skipped:
  """Returns the file's audio: the mean of its channels, resampled.

  Of an impulse response (kind 'rooms') it is the first channel, since a mean
  of microphones that stand apart would be a comb filter; at most ten seconds
  of it, scaled to a peak of 0.9. Else all of the file, although it is long;
  memory holds it as int16 and one block as it is on disk.

  Args:
    sound: the file's statistics are added to it, unless it is skipped.

  Raises:
    InputError: the file is not there any more, or not as it was listed.
  """
  _check_unchanged(file)
  try:
    audio, heard, damage = _read(file, kind == "rooms", sample_rate_hz)
  except errors.InputError as error:
    return Skipped(file.name, str(error).removeprefix(f"{file.path}: "))
  if kind == "rooms":
    peak = np.abs(audio).max()
    if not peak:
      return Skipped(file.name, "an impulse response of nothing but zeros")
    # In float64: the quietest rooms want a factor that float32 does not have.
    audio = waveform.to_int16(np.float64(audio) * (ROOM_PEAK / float(peak)))
  sound.add_file(**heard)
  return records.Piece(file.group, file.name, audio, damage)


def _read(
  file: corpus.File, rooms: bool, sample_rate_hz: int
) -> tuple[np.ndarray, dict[str, Any], str]:
  """Returns the audio [N], float32 of rooms and else int16, and more.

  Returns:
    (audio, its statistics, what is damaged: '' or a line).

  Raises:
    InputError: a file that is no audio, empty, or not finite, be it after it
      was resampled.
  """
  clipping = measure.Clipping()
  # int16 at once, but for what is still to be scaled.
  finished = (lambda x: x) if rooms else waveform.to_int16
  with reading.opened(file.path) as opened:
    rate_hz, channels = opened.rate_hz, opened.channels
    limit = records.RECORD_SECONDS * rate_hz if rooms else float("inf")
    resampler = resampling.Resampler(rate_hz, sample_rate_hz)
    num_samples, made, chunks = 0, 0, []

    def take(chunk: np.ndarray) -> None:
      nonlocal made
      start_s = made / sample_rate_hz
      reading.checked(chunk, opened.name, start_s, sample_rate_hz)
      chunks.append(finished(chunk))
      made += len(chunk)

    for block in opened.blocks():
      block = block[: int(min(len(block), limit - num_samples))]
      clipping.add(block)
      mono = block[:, :1] if rooms else waveform.to_mono(block)[:, None]
      num_samples += len(block)
      take(resampler.push(mono))
      if num_samples >= limit:
        break
    take(resampler.flush())
  heard = {
    "seconds": num_samples / rate_hz,
    "rate_hz": rate_hz,
    "samples": num_samples * channels,
    "clipped": clipping.samples,
  }
  return np.concatenate(chunks)[:, 0], heard, opened.damage


def _check_unchanged(file: corpus.File) -> None:
  """A file that is gone is a lost disk, not a bad file to be skipped."""
  try:
    size = os.stat(file.path).st_size
  except OSError as error:
    raise errors.InputError(
      f"--input: {file.path} cannot be reached any more ({error.strerror}). "
      "Bring it back, for example by mounting its disk."
    ) from None
  if size != file.size_bytes:
    raise errors.InputError(
      f"--input: {file.path} has changed from {file.size_bytes} to {size} "
      "bytes since the preparation began. Bring the old one back, or start "
      "again."
    )
