"""Reads audio files.

They are read by libsndfile, and what it does not read by the machine's ffmpeg,
block by block, so that a damaged header cannot ask for more memory than the
file holds. Arrays are float32 [N, C] in [-1, 1], N samples of C channels,
unless stated.
"""

import contextlib
import os
import pathlib
import shlex
import stat
from collections.abc import Iterator

import numpy as np
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import (
  ffmpeg,
  formats,
  headers,
  resampling,
  waveform,
)

# Of the files that datasets are shipped as.
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")

_BLOCK_SAMPLES = 1 << 18
_SYSTEM_ERROR = 2  # libsndfile's number for what the system refused


class _Libsndfile:
  """A file that libsndfile decodes.

  Attributes:
    complaint: '', or why it cannot go on.
  """

  def __init__(self, descriptor: int):
    self._file = soundfile.SoundFile(descriptor)
    self.rate_hz: int = self._file.samplerate
    self.channels: int = self._file.channels
    self.complaint = ""

  def read(self, samples: int) -> np.ndarray:
    """Returns float32 [n, C] of what follows, nothing at the end."""
    if self.complaint:
      return np.empty((0, self.channels), np.float32)
    out = np.empty((samples, self.channels), np.float32)
    seekable = self._file.seekable()
    before = self._file.tell() if seekable else 0
    try:
      return self._file.read(out=out)
    except soundfile.LibsndfileError as error:
      if error.code == _SYSTEM_ERROR:
        raise
      self.complaint = _reason(error)
    # Of a flac, what stands before the place where it is damaged.
    whole = 0
    with contextlib.suppress(soundfile.LibsndfileError):
      whole = max(0, self._file.tell() - before) if seekable else 0
    return out[:whole]

  def close(self) -> None:
    self._file.close()


class Sound:
  """The sound of a file, to be read once, and closed, by one thread.

  Attributes:
    name: what messages call it.
    rate_hz, channels: of the file.
    claimed_samples: what its header says; None where it says nothing, as that
      of a stream.
    samples: read so far, of each channel.
    damage: '', or after the last block one line on what is missing, as in
      "the header says 2.000 s, the file holds 1.000 s".
  """

  def __init__(
    self,
    decoder: _Libsndfile | ffmpeg.Decoder,
    name: str,
    claim: headers.Claim,
  ):
    self.name = name
    self.rate_hz = decoder.rate_hz
    self.channels = decoder.channels
    self.claimed_samples = claim.samples
    self.samples = 0
    self.damage = ""
    self._decoder = decoder
    self._claim = claim

  def __enter__(self) -> "Sound":
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def close(self) -> None:
    self._decoder.close()

  def blocks(self) -> Iterator[np.ndarray]:
    """Yields float32 [n, C], n at most 2**18, all finite, at least one.

    Raises:
      InputError: no samples, samples that are not finite, or damage that
        leaves nothing to go on with.
    """
    # A header may say a thousand channels.
    size = max(1, _BLOCK_SAMPLES // max(1, self.channels // 2))
    while True:
      try:
        block = self._decoder.read(size)
      except OSError as error:
        raise _refused(self.name, error) from None
      except soundfile.LibsndfileError as error:
        raise _unreadable(self.name, _reason(error)) from None
      if not len(block):
        break
      checked(block, self.name, self.samples / self.rate_hz, self.rate_hz)
      self.samples += len(block)
      yield block
    if not self.samples:
      reason = self._decoder.complaint
      if reason or self._claim.cut:
        reason = reason or "it is cut off before any sound"
        raise _unreadable(self.name, reason)
      raise errors.InputError(
        f"{self.name}: the file holds no samples. Remove or replace it."
      )
    self.damage = self._damage()

  def _damage(self) -> str:
    """Compares what was read with what the header says."""
    claim, complaint = self._claim, self._decoder.complaint
    held_s = f"{self.samples / self.rate_hz:.3f} s"
    # A codec may round; bytes do not.
    short = claim.cut or claim.size_bytes is None
    text = ""
    if claim.samples is not None and self.samples < claim.samples and short:
      said_s = f"{claim.samples / self.rate_hz:.3f} s"
      text = f"the header says {said_s}, the file holds {held_s}"
      if said_s == held_s:
        text = (
          f"the header says {claim.samples} samples, the file holds "
          f"{self.samples}"
        )
    elif claim.samples is None and claim.size_bytes and claim.cut:
      text = (
        f"the header says {claim.size_bytes} bytes of sound, the file holds "
        f"{claim.held_bytes}: {held_s}"
      )
    elif claim.torn:
      text = f"the file is cut off after {held_s}"
    if complaint:
      text = f"{text or f'the file is damaged after {held_s}'} ({complaint})"
    return text


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
    InputError: no such file, empty, not audio, or a playlist.
  """
  path = pathlib.Path(path)
  name = str(path) if name is None else name
  try:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
      raise errors.InputError(
        f"{name}: this is a folder, not an audio file. Name one file."
      )
    regular = stat.S_ISREG(status.st_mode)
    if regular and not status.st_size:
      raise errors.InputError(
        f"{name}: the file is empty (0 bytes). Remove or replace it."
      )
    claim, begin = _look(path) if regular else (headers.Claim(), b"")
  except (FileNotFoundError, NotADirectoryError):
    raise errors.InputError(
      f"{name}: there is no such file. Check the path."
    ) from None
  except OSError as error:
    raise _refused(name, error) from None
  if claim.broken:
    raise _unreadable(name, claim.broken)
  if claim.unsaid_bytes:
    raise errors.InputError(
      f"{name}: the header says 0 bytes of sound, and {claim.unsaid_bytes} "
      "bytes follow: whoever recorded it ended before the length was written. "
      f"Mend it with `ffmpeg -ignore_length 1 -i {shlex.quote(str(path))} "
      "mended.wav`."
    )
  try:
    # By number: any name will do, not only UTF-8; and by name libsndfile 1.2
    # refuses an mp3 beside which macOS has left a ._ file.
    binary = getattr(os, "O_BINARY", 0)
    return Sound(_Libsndfile(os.open(path, os.O_RDONLY | binary)), name, claim)
  except OSError as error:
    raise _refused(name, error) from None
  except soundfile.LibsndfileError as error:
    reason = _reason(error)
  if formats.is_playlist(begin):
    raise errors.InputError(
      f"{name}: this is a text or a playlist, not audio. Name the files that "
      "it lists."
    )
  if regular and ffmpeg.installed():
    return Sound(ffmpeg.Decoder(path, name), name, claim)
  if formats.is_of_ffmpeg(path, begin):
    raise ffmpeg.missing(path, name)
  if claim.cut:
    reason += "; the file is cut off"
  raise _unreadable(name, reason)


def _look(path: pathlib.Path) -> tuple[headers.Claim, bytes]:
  """Returns (what the header says, the first bytes) of a file, not a pipe."""
  with open(path, "rb") as file:
    begin = file.read(1 << 10)
    return headers.look(file), begin


def _reason(error: Exception) -> str:
  reason = getattr(error, "error_string", None) or str(error)
  if reason.startswith("File does not exist"):  # said of what is no mp3
    return "its content is not audio"
  return reason.strip().removeprefix("Error : ").rstrip(".")


def _refused(name: str, error: OSError) -> errors.InputError:
  return errors.InputError(
    f"{name}: cannot be read ({error.strerror or error}). Change its "
    "permissions, or copy it to another disk."
  )


def _unreadable(name: str, reason: str) -> errors.InputError:
  return errors.InputError(
    f"{name}: cannot be read as audio ({reason}). Use wav, flac, ogg, opus or "
    "mp3, or convert the file with ffmpeg."
  )
