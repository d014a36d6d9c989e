"""Reads audio files.

They are read by libsndfile block by block, so that a damaged header cannot
ask for more memory than the file holds. Arrays are float32 [N, C] in [-1, 1],
N samples of C channels, unless stated.
"""

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import resampling, waveform

# Of the files that datasets are shipped as.
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")

_BLOCK_SAMPLES = 1 << 18


class Sound:
  """The sound of a file, to be read once, and closed.

  Attributes:
    name: what messages call it.
    rate_hz, channels: of the file.
    claimed_samples: what its header says; None where it says nothing, as that
      of a stream.
    samples: read so far, of each channel.
    damage: '', or after the last block one line on what is missing, as in
      "the header says 2.000 s, the file holds 1.000 s".
  """

  def __init__(self, file: soundfile.SoundFile, name: str):
    self.name = name
    self.rate_hz: int = file.samplerate
    self.channels: int = file.channels
    self.claimed_samples: int | None = None
    self.samples = 0
    self.damage = ""
    self._file = file

  def __enter__(self) -> "Sound":
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def close(self) -> None:
    self._file.close()

  def blocks(self) -> Iterator[np.ndarray]:
    """Yields float32 [n, C], n at most 2**18, all finite, at least one.

    Raises:
      InputError: no samples, samples that are not finite, or damage that
        leaves nothing to go on with.
    """
    while True:
      try:
        block = self._file.read(_BLOCK_SAMPLES, dtype="float32", always_2d=True)
      except (OSError, soundfile.LibsndfileError) as error:
        raise _unreadable(self.name, error) from None
      if not len(block):
        break
      yield checked(block, self.name, self.samples / self.rate_hz, self.rate_hz)
      self.samples += len(block)
    if not self.samples:
      raise errors.InputError(
        f"{self.name}: the file holds no samples. Remove or replace it."
      )


def read(path: str | os.PathLike) -> tuple[np.ndarray, int]:
  """Returns the whole file as ([N, C], sample rate in Hz); N is at least 1.

  Raises:
    InputError: no such file, not audio, damaged, empty, or samples that are
      not finite.
  """
  with opened(path) as sound:
    return np.concatenate(list(sound.blocks())), sound.rate_hz


def read_mono(path: str | os.PathLike, *, sample_rate_hz: int) -> np.ndarray:
  """Returns the file as one channel [N] at `sample_rate_hz`.

  Equals `resample(to_mono(audio))` of the whole file up to float rounding, but
  holds one block at the file's own rate and width in memory.

  Raises:
    InputError: as `read`.
  """
  with opened(path) as sound:
    resampler = resampling.Resampler(sound.rate_hz, sample_rate_hz)
    chunks = [
      resampler.push(waveform.to_mono(block)[:, None])
      for block in sound.blocks()
    ]
    chunks.append(resampler.flush())
    return checked(np.concatenate(chunks), sound.name, 0.0, sample_rate_hz)[
      :, 0
    ]


def checked(
  block: np.ndarray, name: str, start_s: float, rate_hz: float
) -> np.ndarray:
  """Returns the block [n, C] itself, once all its samples are finite.

  For what is read, and again for what was made of it: a sum or a resampler
  makes infinity of finite samples that are far too loud.

  Args:
    name: of the file.
    start_s: seconds of the file before the block.
    rate_hz: of the block.

  Raises:
    InputError: NaN or infinity, with the file and the place.
  """
  finite = np.isfinite(block).all(axis=1)
  if finite.all():
    return block
  first = start_s + int(np.argmin(finite)) / rate_hz
  raise errors.InputError(
    f"{name}: sample at {first:.3f} s is NaN or infinite. Export the file "
    "again, for example as 16-bit wav."
  )


def opened(path: str | os.PathLike, *, name: str | None = None) -> Sound:
  """Opens a file to be read in `blocks`, and closed: a context manager.

  Args:
    name: for messages; else the path.

  Raises:
    InputError: no such file, empty, or not audio.
  """
  path = pathlib.Path(path)
  name = str(path) if name is None else name
  if path.is_dir():
    raise errors.InputError(
      f"{name}: this is a folder, not an audio file. Name one file."
    )
  if not path.exists():
    raise errors.InputError(f"{name}: there is no such file. Check the path.")
  if path.is_file() and not path.stat().st_size:
    raise errors.InputError(
      f"{name}: the file is empty (0 bytes). Remove or replace it."
    )
  try:
    # By number: any name will do, not only UTF-8; and by name libsndfile 1.2
    # refuses an mp3 beside which macOS has left a ._ file.
    binary = getattr(os, "O_BINARY", 0)
    file = soundfile.SoundFile(os.open(path, os.O_RDONLY | binary))
  except (OSError, soundfile.LibsndfileError) as error:
    raise _unreadable(name, error) from None
  return Sound(file, name)


def _unreadable(name: str, error: Exception) -> errors.InputError:
  reason = getattr(error, "error_string", None) or (
    getattr(error, "strerror", None) or str(error)
  )
  if reason.startswith("File does not exist"):  # said of what is no mp3
    reason = "its content is not audio"
  return errors.InputError(
    f"{name}: cannot be read as audio ({reason.strip().rstrip('.')}). Use wav, "
    "flac, ogg, opus or mp3, or convert the file with ffmpeg."
  )
