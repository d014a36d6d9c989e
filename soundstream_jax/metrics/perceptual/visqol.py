"""ViSQOL: how alike two sounds are to an ear, as a mean opinion score.

Two modes of visqol-python, which equals Google's program within 0.003: audio
(48 kHz, a support vector regression; 1 to 4.73) and speech (16 kHz, the lattice
network that Google's uses by default; 1 to about 4.7, equal signals about 4.5).
Equal loudness is made and a delay is taken out before the comparison. Audio
mode is led by bandwidth; a good score must hold in speech mode too.

Hines et al., "ViSQOL: an objective speech quality model", 2015; Chinen et al.,
"ViSQOL v3", 2020.
"""

import functools
import os
import sys
import tempfile
import threading

import numpy as np

from soundstream_jax import caches
from soundstream_jax.metrics import metric

AUDIO_RATE_HZ = 48_000
SPEECH_RATE_HZ = 16_000
# Frames are 80 ms, 20 ms apart; the first patch of 30 begins at the 15th.
_AUDIO_SECONDS = 1.0
_SPEECH_SECONDS = 0.7


def audio(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of audio mode of two clips [T] at 48 kHz.

  Raises:
    NoValue: the clip is shorter than a second, or the output is silent.
  """
  return _score("audio", reference, output, AUDIO_RATE_HZ, _AUDIO_SECONDS)


def speech(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of speech mode of two clips [T] at 16 kHz.

  Raises:
    NoValue: the clip is shorter than 0.7 s, or the output is silent.
  """
  return _score("speech", reference, output, SPEECH_RATE_HZ, _SPEECH_SECONDS)


def _score(mode, reference, output, rate_hz, least_s) -> float:
  seconds = len(reference) / rate_hz
  if seconds < least_s:
    raise metric.NoValue(
      f"the clip has {seconds:.2f} s; ViSQOL's {mode} mode needs {least_s:g}"
    )
  if not np.any(output):
    raise metric.NoValue("the output is digital silence, which has no loudness")
  # numba's threads of this layer end the process when two threads start them.
  with _lock():
    return _api(mode).measure_from_arrays(reference, output, rate_hz).moslqo


@functools.cache
def _lock() -> threading.Lock:
  return threading.Lock()


@functools.cache
def _api(mode: str):
  """Returns what measures in a mode; it takes a second to make."""
  _give_numba_a_folder()
  from visqol import api

  made = api.VisqolApi()
  # Without the lattice it would warn, and score by another map.
  made.create(mode, use_lattice_model=True if mode == "speech" else None)
  return made


def _give_numba_a_folder() -> None:
  """Names a folder for programs that numba compiles: without one it fails.

  It would write beside the package or into a home, which may both be closed.
  """
  if os.environ.get("NUMBA_CACHE_DIR"):
    return
  folder = caches.folder("numba")
  if folder is None:
    # A new one that only this user may write; it is gone when the process is.
    folder = _own_folder().name
  os.environ["NUMBA_CACHE_DIR"] = str(folder)
  if "numba" in sys.modules:
    sys.modules["numba"].config.reload_config()


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory:
  return tempfile.TemporaryDirectory(prefix="numba-")
