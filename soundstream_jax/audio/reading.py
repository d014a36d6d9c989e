"""Audio files, sample rates, channels and int16, in numpy.

Files are read by libsndfile (wav, flac, ogg, opus, mp3) block by block, so
that a damaged header cannot ask for more memory than the file holds. Arrays
are float32 [N, C] in [-1, 1], N samples of C channels, unless stated.
"""

import io
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr

from soundstream_jax import errors, rates, whole_files

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")

_BLOCK_SAMPLES = 1 << 18
_RESAMPLER_QUALITY = "HQ"


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
    rate_in_hz = file.samplerate
    convert = resampler(rate_in_hz, sample_rate_hz)
    num_samples, chunks = 0, []
    for block in blocks(file, path):
      num_samples += len(block)
      chunks.append(convert(to_mono(block), False))
  chunks.append(convert(np.zeros(0, np.float32), True))
  length = rates.resampled_length(num_samples, rate_in_hz, sample_rate_hz)
  return fit(np.concatenate(chunks), length)


def write(
  path: str | os.PathLike, audio: np.ndarray, sample_rate_hz: int
) -> None:
  """Writes a 16-bit PCM wav file; values beyond full scale are clipped.

  The file appears under its name only when it is complete.

  Args:
    path: a name that ends in .wav.
    audio: [N] or [N, C].

  Raises:
    InputError: another file type, or no such folder.
    DiskError: the disk cannot be written to.
    ValueError: samples that are not finite.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() != ".wav":
    raise errors.InputError(
      f"{path}: audio is written as 16-bit wav. Name it {path.stem}.wav."
    )
  # In memory: libsndfile reports a full disk by a traceback on stderr.
  file = io.BytesIO()
  soundfile.write(
    file,
    to_int16(np.asarray(audio)),
    sample_rate_hz,
    format="WAV",
    subtype="PCM_16",
  )
  whole_files.write(path, file.getbuffer())


def resample(
  audio: np.ndarray, rate_in_hz: int, rate_out_hz: int
) -> np.ndarray:
  """Returns [M, C] with M = rates.resampled_length(N, ...), exactly."""
  audio = np.asarray(audio, np.float32)
  if rate_in_hz == rate_out_hz or not len(audio):
    return audio
  length = rates.resampled_length(len(audio), rate_in_hz, rate_out_hz)
  resampled = soxr.resample(
    audio, rate_in_hz, rate_out_hz, quality=_RESAMPLER_QUALITY
  )
  return fit(resampled, length)


def to_mono(audio: np.ndarray) -> np.ndarray:
  """[N, C] -> [N], the mean of the channels."""
  if audio.shape[1] == 1:
    return audio[:, 0]
  return audio.mean(axis=1, dtype=np.float32)


def to_int16(audio: np.ndarray) -> np.ndarray:
  """float in [-1, 1] -> int16, rounded; clipped beyond, never wrapped.

  Raises:
    ValueError: samples that are not finite.
  """
  scaled = np.rint(np.asarray(audio, np.float32) * np.float32(32768))
  if not np.isfinite(scaled).all():
    raise ValueError("audio has samples that are NaN or infinite")
  return np.clip(scaled, -32768, 32767).astype(np.int16)


def to_float32(pcm: np.ndarray) -> np.ndarray:
  """int16 -> float32 in [-1, 1), by 32768; `to_int16` undoes it exactly."""
  return pcm.astype(np.float32) / np.float32(32768)


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


def resampler(rate_in_hz: int, rate_out_hz: int):
  """Returns convert(chunk [N], last) -> [M], a resampler with a memory."""
  if rate_in_hz == rate_out_hz:
    return lambda chunk, last: chunk
  stream = soxr.ResampleStream(
    rate_in_hz, rate_out_hz, 1, dtype="float32", quality=_RESAMPLER_QUALITY
  )
  return lambda chunk, last: stream.resample_chunk(chunk, last=last)


def fit(audio: np.ndarray, length: int) -> np.ndarray:
  """Cuts the end off or pads it with zeros: soxr rounds in its own way."""
  if len(audio) >= length:
    return audio[:length]
  padding = [(0, length - len(audio))] + [(0, 0)] * (audio.ndim - 1)
  return np.pad(audio, padding)
