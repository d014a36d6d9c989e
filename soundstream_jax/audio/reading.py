"""Reads audio files.

They are read by libsndfile (wav, flac, ogg, opus, mp3) block by block, so
that a damaged header cannot ask for more memory than the file holds. Arrays
are float32 [N, C] in [-1, 1], N samples of C channels, unless stated.
"""

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import resampling, waveform

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")

_BLOCK_SAMPLES = 1 << 18


def read(path: str | os.PathLike) -> tuple[np.ndarray, int]:
  """Returns the whole file as ([N, C], sample rate in Hz); N is at least 1.

  Raises:
    InputError: no such file, not audio, damaged, empty, or samples that are
      not finite.
  """
  with opened(path) as file:
    found = list(blocks(file, path))
    return np.concatenate(found), file.samplerate


def read_mono(path: str | os.PathLike, *, sample_rate_hz: int) -> np.ndarray:
  """Returns the file as one channel [N] at `sample_rate_hz`.

  Equals `resample(to_mono(audio))` of the whole file up to float rounding, but
  holds one block at the file's own rate and width in memory.

  Raises:
    InputError: as `read`.
  """
  with opened(path) as file:
    resampler = resampling.Resampler(file.samplerate, sample_rate_hz)
    chunks = [
      resampler.push(waveform.to_mono(block)[:, None])
      for block in blocks(file, path)
    ]
  return np.concatenate([*chunks, resampler.flush()])[:, 0]


def opened(path: str | os.PathLike) -> soundfile.SoundFile:
  """Opens a file to be read in `blocks`, and closed.

  Raises:
    InputError: no such file, empty, or not audio.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    raise errors.InputError(
      f"{path}: this is a folder, not an audio file. Name one file."
    )
  if not path.exists():
    raise errors.InputError(f"{path}: there is no such file. Check the path.")
  if path.is_file() and not path.stat().st_size:
    raise errors.InputError(
      f"{path}: the file is empty (0 bytes). Remove or replace it."
    )
  try:
    # By number: any name will do, not only UTF-8; and by name libsndfile 1.2
    # refuses an mp3 beside which macOS has left a ._ file.
    binary = getattr(os, "O_BINARY", 0)
    return soundfile.SoundFile(os.open(path, os.O_RDONLY | binary))
  except (OSError, soundfile.LibsndfileError) as error:
    raise _unreadable(path, error) from None


def blocks(
  file: soundfile.SoundFile, path: str | os.PathLike
) -> Iterator[np.ndarray]:
  """Yields float32 [at most _BLOCK_SAMPLES, C], all finite, at least one.

  Raises:
    InputError: as `read`.
  """
  start = 0
  while True:
    try:
      block = file.read(_BLOCK_SAMPLES, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
      raise _unreadable(path, error) from None
    if not len(block):
      break
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
      first = (start + int(np.argmin(finite))) / file.samplerate
      raise errors.InputError(
        f"{path}: sample at {first:.3f} s is NaN or infinite. Export the file "
        "again, for example as 16-bit wav."
      )
    start += len(block)
    yield block
  if not start:
    raise errors.InputError(
      f"{path}: the file holds no samples. Remove or replace it."
    )


def _unreadable(path: str | os.PathLike, error: Exception) -> errors.InputError:
  reason = getattr(error, "error_string", None) or (
    getattr(error, "strerror", None) or str(error)
  )
  if reason.startswith("File does not exist"):  # said of what is no mp3
    reason = "its content is not audio"
  return errors.InputError(
    f"{path}: cannot be read as audio ({reason.strip().rstrip('.')}). Use wav, "
    "flac, ogg, opus or mp3, or convert the file with ffmpeg."
  )
