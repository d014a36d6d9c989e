"""Processes that a fault has started and that still run."""

import contextlib
import os
import pathlib
import signal
import time

# In the environment of whatever a fault starts: the fault's folder.
MARK = "SOUNDSTREAM_FAULTS_RUN"


def kill(folder: pathlib.Path, *, patience: float) -> int:
  """Kills what a fault has left; returns how many processes that were.

  Args:
    folder: of the fault, or of many.
    patience: seconds that they get to end by themselves.
  """
  deadline = time.monotonic() + patience
  while (left := _processes(folder)) and time.monotonic() < deadline:
    time.sleep(0.1)
  count = len(left)
  # What is killed may just have started another one.
  while left:
    for pid in left:
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    left = _processes(folder)
  return count


def _processes(folder: pathlib.Path) -> list[int]:
  mark = f"{MARK}={folder}/".encode()
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
    with contextlib.suppress(OSError):
      variables = path.read_bytes().split(b"\0")
      if any((one + b"/").startswith(mark) for one in variables):
        found.append(int(path.parent.name))
  return found
