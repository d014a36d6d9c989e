"""Worker processes of the loader: signalled, killed, or left alone."""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from soundstream_jax.data import loader, worker

PARENT = """\
import multiprocessing, time
from soundstream_jax.data import worker

def work():
  worker.begin(0, 1)
  time.sleep(100)

if __name__ == "__main__":
  child = multiprocessing.get_context("spawn").Process(target=work)
  child.start()
  print(child.pid, flush=True)
  time.sleep(100)
"""


def test_a_worker_works_on_after_sigterm_and_its_death_is_an_error(
  voices, make_config
):
  config = make_config(voices, **{"data.num_workers": 1})
  with loader.train_loader(make_config(voices)) as alone:
    expected = [next(alone).audio for _ in range(12)]
  with loader.train_loader(config) as batches:
    np.testing.assert_array_equal(next(batches).audio, expected[0])
    (process,) = multiprocessing.active_children()
    # As a terminal or a cluster does, to each process of a job.
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGINT)
    for audio in expected[1:]:
      np.testing.assert_array_equal(next(batches).audio, audio)
    os.kill(process.pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"is gone \(killed by SIGKILL\)"):
      for _ in range(100):
        next(batches)
    assert time.monotonic() - start < 10


@pytest.mark.slow
def test_a_worker_that_is_starting_survives_a_signal_too(voices, make_config):
  with loader.train_loader(make_config(voices)) as alone:
    expected = next(alone).audio
  done = threading.Event()

  def signal_them():
    signalled = set()
    while not done.is_set():
      for process in multiprocessing.active_children():
        if process.pid not in signalled:
          signalled.add(process.pid)
          # When it has begun, and while it imports.
          for _ in range(20):
            # One that has ended is missed by the loader, not here.
            with contextlib.suppress(ProcessLookupError):
              os.kill(process.pid, signal.SIGTERM)
            time.sleep(0.05)

  sender = threading.Thread(target=signal_them)
  sender.start()
  try:
    config = make_config(voices, **{"data.num_workers": 2})
    with loader.train_loader(config) as batches:
      np.testing.assert_array_equal(next(batches).audio, expected)
  finally:
    done.set()
    sender.join()


def test_another_error_is_not_taken_for_a_dead_worker():
  assert worker.lost(RuntimeError("Worker process is tired")) is None
  code = "Worker process was terminated unexpectedly with exit code 3."
  assert "(exit code 3)" in str(worker.lost(RuntimeError(code)))


def _exists(pid):
  """False for one that has ended, also where nobody has asked for its end."""
  try:
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
  except FileNotFoundError:
    return False
  return state.split()[0] != "Z"


def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path):
  script = tmp_path / "parent.py"
  script.write_text(PARENT)
  parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
  child = int(parent.stdout.readline())
  assert _exists(child)
  parent.kill()
  parent.wait()
  parent.stdout.close()
  deadline = time.monotonic() + 30
  while _exists(child):
    assert time.monotonic() < deadline
    time.sleep(0.05)
