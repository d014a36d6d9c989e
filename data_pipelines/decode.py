"""One audio file -> one piece of int16 mono, and what the file was like."""

import dataclasses
import os

import numpy as np
import soundfile
import soxr

from soundstream_jax import errors, rates
from soundstream_jax.audio import io
from soundstream_jax.data_pipelines import corpus, measure, records

ROOM_PEAK = 0.9
_BLOCK_SAMPLES = 1 << 18


@dataclasses.dataclass(frozen=True)
class Skipped:
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
  rooms = kind == "rooms"
  clipping = measure.Clipping()
  try:
    with soundfile.SoundFile(os.fsencode(file.path)) as opened:
      rate_hz, channels = opened.samplerate, opened.channels
      limit = records.RECORD_SECONDS * rate_hz if rooms else None
      stream = soxr.ResampleStream(
        rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ"
      )
      # int16 at once, but for what is still to be scaled.
      finished = (lambda x: x) if rooms else io.to_int16
      num_samples, chunks = 0, []
      while limit is None or num_samples < limit:
        size = _BLOCK_SAMPLES
        if limit is not None:
          size = min(size, limit - num_samples)
        block = opened.read(size, dtype="float32", always_2d=True)
        if not len(block):
          break
        clipping.add(block)
        mono = block[:, 0] if rooms else io.to_mono(block)
        if not np.isfinite(block).all():
          return Skipped(file.name, _reason(file, "NaN or infinite samples"))
        num_samples += len(block)
        chunks.append(
          finished(
            mono
            if rate_hz == sample_rate_hz
            else stream.resample_chunk(mono, last=False)
          )
        )
  except (OSError, RuntimeError, ValueError) as error:  # libsndfile's too
    return Skipped(file.name, _reason(file, str(error)))
  if not num_samples:
    return Skipped(file.name, _reason(file, "the file holds no samples"))
  if rate_hz != sample_rate_hz:
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    chunks.append(finished(rest))
  length = rates.resampled_length(num_samples, rate_hz, sample_rate_hz)
  audio = np.concatenate(chunks)[:length]
  audio = np.pad(audio, (0, length - len(audio)))  # soxr rounds in its own way
  if rooms:
    peak = np.abs(audio).max()
    if not peak:
      return Skipped(file.name, "an impulse response of nothing but zeros")
    audio = io.to_int16(audio * np.float32(ROOM_PEAK / peak))
  sound.add_file(
    seconds=num_samples / rate_hz,
    rate_hz=rate_hz,
    samples=num_samples * channels,
    clipped=clipping.samples,
  )
  return records.Piece(file.group, file.name, audio)


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


def _reason(file: corpus.File, otherwise: str) -> str:
  """Says what is wrong with a file, in the words of `io`."""
  try:
    io.read_mono(file.path, sample_rate_hz=8_000)
  except errors.InputError as error:
    return str(error).removeprefix(f"{file.path}: ")
  return otherwise
