"""Writes 16-bit PCM wav files, as the sound comes.

Sizes stand before the samples, so that they must be known at the start; then
a pipe will do. A WAV file holds 4 GiB; a longer one is RF64 (EBU Tech 3306),
which differs in its head alone.
"""

import os
import pathlib
import struct
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors, whole_files
from soundstream_jax.audio import waveform

_MAX_32 = 2**32 - 1
_SAMPLE = np.dtype("<i2")
_PCM = 1  # of WAVE_FORMAT


class Writer:
  """Writes a wav file of known length to a file or a pipe."""

  def __init__(
    self, file: BinaryIO, sample_rate_hz: int, *, channels: int, samples: int
  ):
    """Writes the head.

    Args:
      file: to write to; never read, never sought.
      sample_rate_hz: of the sound.
      channels: C.
      samples: per channel, in all.
    """
    self._file, self._left = file, samples
    file.write(_head(sample_rate_hz, channels, samples))

  def write(self, audio: np.ndarray) -> None:
    """Writes float [N, C] in [-1, 1]; values beyond are clipped.

    Raises:
      ValueError: samples that are not finite, or more than there are to be.
    """
    self._left -= len(audio)
    if self._left < 0:
      raise ValueError(f"{-self._left} samples more than the head says")
    self._file.write(waveform.to_int16(audio).astype(_SAMPLE).tobytes())

  def close(self) -> None:
    """Ends the file, which is not closed.

    Raises:
      ValueError: fewer samples than there are to be.
    """
    if self._left:
      raise ValueError(f"{self._left} samples fewer than the head says")


def write(
  path: str | os.PathLike, audio: np.ndarray, sample_rate_hz: int
) -> None:
  """Writes a file; values beyond full scale are clipped.

  The file appears under its name only when it is complete.

  Args:
    path: a name that ends in .wav.
    audio: [N] or [N, C].
    sample_rate_hz: of the sound.

  Raises:
    InputError: another file type, or no such folder.
    DiskError: the disk cannot be written to.
    ValueError: samples that are not finite.
  """
  check_name(path)
  audio = np.asarray(audio)
  audio = audio[:, None] if audio.ndim == 1 else audio
  samples, channels = audio.shape
  with whole_files.opened(path) as file:
    writer = Writer(file, sample_rate_hz, channels=channels, samples=samples)
    writer.write(audio)
    writer.close()


def check_name(path: str | os.PathLike) -> None:
  """Refuses names of other kinds of files.

  Raises:
    InputError: the name does not end in .wav.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() != ".wav":
    raise errors.InputError(
      f"{path}: audio is written as 16-bit wav. Name it {path.stem}.wav."
    )


def _head(sample_rate_hz: int, channels: int, samples: int) -> bytes:
  frame_bytes = channels * _SAMPLE.itemsize
  data_bytes = samples * frame_bytes
  layout = struct.pack(
    "<4sIHHIIHH",
    b"fmt ",
    16,
    _PCM,
    channels,
    sample_rate_hz,
    sample_rate_hz * frame_bytes,
    frame_bytes,
    8 * _SAMPLE.itemsize,
  )
  size = len(b"WAVE") + len(layout) + 8 + data_bytes
  if size <= _MAX_32:
    begin = struct.pack("<4sI4s", b"RIFF", size, b"WAVE")
    return begin + layout + struct.pack("<4sI", b"data", data_bytes)
  sizes = struct.pack(
    "<4sIQQQI", b"ds64", 28, size + 36, data_bytes, samples, 0
  )
  begin = struct.pack("<4sI4s", b"RF64", _MAX_32, b"WAVE")
  return begin + sizes + layout + struct.pack("<4sI", b"data", _MAX_32)
