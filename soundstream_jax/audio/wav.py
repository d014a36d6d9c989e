"""Writes 16-bit PCM wav files."""

import io
import os
import pathlib

import numpy as np
import soundfile

from soundstream_jax import errors, whole_files
from soundstream_jax.audio import waveform


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
    waveform.to_int16(np.asarray(audio)),
    sample_rate_hz,
    format="WAV",
    subtype="PCM_16",
  )
  whole_files.write(path, file.getbuffer())
