"""Sound that libsndfile does not read, by the machine's ffmpeg."""

import shutil


def installed() -> bool:
  """True where ffmpeg is on PATH."""
  return shutil.which("ffmpeg") is not None
