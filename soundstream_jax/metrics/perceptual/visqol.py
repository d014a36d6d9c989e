"""ViSQOL: how alike two sounds are to an ear, as a mean opinion score.

Two modes of visqol-python, which equals Google's program within 0.003: audio
(48 kHz, a support vector regression; 1 to 4.732, which equal signals get) and
speech (16 kHz, the lattice network that Google's uses by default; 1 to 5, equal
signals get 4.1 to 4.7, so that differences above 4 mean little).

Equal loudness is made and a delay is taken out before the comparison; what is
shifted out is compared with silence. Patches of 0.6 s (speech: 0.4 s) are
compared, and a rest that fills none is not. Silence counts as equal: half a
second of it at each end adds 0.3 in audio mode, and noise instead of a quiet
voice gets 2.8 at -40 dBFS, 3.4 at -50, 4.7 at -100. Bandwidth leads audio mode:
a good score must hold in speech mode too.

Hines et al., "ViSQOL: an objective speech quality model", 2015; Chinen et al.,
"ViSQOL v3: an open source production ready objective speech and audio metric",
2020.
"""

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator

import numpy as np

from soundstream_jax import caches
from soundstream_jax.metrics import metric

AUDIO_RATE_HZ = 48_000
SPEECH_RATE_HZ = 16_000
# Frames are 80 ms, 20 ms apart. Audio mode wants 45, for a patch of 30 that
# begins at the 15th; speech mode 29, for one of 20 that begins at the 10th.
LEAST_AUDIO_S = 0.96
LEAST_SPEECH_S = 0.64
# Below, noise scores as well as a codec does.
QUIET_DBFS = -50.0


def audio(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of audio mode of two clips [T] at 48 kHz.

  Raises:
    NoValue: the clip is too short, or one of the two too quiet.
  """
  return _score("audio", reference, output, AUDIO_RATE_HZ, LEAST_AUDIO_S)


def speech(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of speech mode of two clips [T] at 16 kHz.

  Raises:
    NoValue: the clip is too short, or one of the two too quiet.
  """
  return _score("speech", reference, output, SPEECH_RATE_HZ, LEAST_SPEECH_S)


def _score(mode, reference, output, rate_hz, least_s) -> float:
  seconds = len(reference) / rate_hz
  if seconds < least_s:
    raise metric.NoValue(
      f"the clip has {seconds:.2f} s; ViSQOL's {mode} mode needs {least_s:g}"
    )
  rms = np.std(reference, dtype=np.float64)
  if rms < 10 ** (QUIET_DBFS / 20):
    raise metric.NoValue(
      f"the reference has {20 * np.log10(max(rms, 1e-9)):.0f} dBFS; ViSQOL "
      f"takes what is below {QUIET_DBFS:g} for silence, which equals anything"
    )
  if not np.any(output):
    raise metric.NoValue("the output is digital silence, which has no loudness")
  # numba's threads end the process when two threads of ours start them.
  with _lock():
    made = _api(mode)
    if "numba" in sys.modules:
      # Clips are measured in as many processes as there are cores.
      sys.modules["numba"].set_num_threads(1)
    return made.measure_from_arrays(reference, output, rate_hz).moslqo


@functools.cache
def _lock() -> threading.Lock:
  return threading.Lock()


@functools.cache
def _api(mode: str):
  """Returns the thing that measures in a mode; it takes a second to make."""
  _give_numba_a_folder()
  from visqol import api

  made = api.VisqolApi()
  with _no_words_of_libraries():
    # Left to itself it scores by another map where the lattice is missing.
    made.create(mode, use_lattice_model=True if mode == "speech" else None)
  return made


def _give_numba_a_folder() -> None:
  """Names a folder for programs that numba compiles: without one it fails.

  It would write beside the package or into a home, which may both be closed.
  """
  if not os.environ.get("NUMBA_CACHE_DIR"):
    folder = caches.folder("numba") or _own_folder()
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # it has read its environment
      sys.modules["numba"].config.reload_config()


def _own_folder() -> str:
  """Returns a folder that only this user may write, until the process ends."""
  folder = tempfile.mkdtemp(prefix="numba-")
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  return folder


@contextlib.contextmanager
def _no_words_of_libraries() -> Iterator[None]:
  """Keeps quiet what C++ prints: that it made a delegate, for every process."""
  try:
    kept = os.dup(2)
  except OSError:  # there is no stderr
    yield
    return
  try:
    with open(os.devnull, "wb") as nothing:
      os.dup2(nothing.fileno(), 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
