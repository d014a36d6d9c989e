"""What happens to a process at the moment of its fault.

Each action takes the fault as `sitecustomize` describes it, and its folder.
"""

import os
import resource
import signal
import time

# How long a process waits for the benchmark to do something outside of it.
PATIENCE_SECONDS = 150

true_time = time.time


def _sends(number, process=os.getpid):
  """Returns an action: a signal to this process, or to another one."""
  return lambda given, folder: os.kill(process(), number)


def _kill_all(given, folder):
  """Peers first; at the very start, as soon as they are there."""
  deadline = time.monotonic() + 20
  peers = [folder / f"pid-{k}" for k in range(given["num_processes"])]
  while not all(p.exists() for p in peers) and time.monotonic() < deadline:
    time.sleep(0.01)
  for pid in [int(peer.read_text()) for peer in peers]:
    if pid != os.getpid():
      os.kill(pid, signal.SIGKILL)
  os.kill(os.getpid(), signal.SIGKILL)


def _wait_outside(given, folder):
  """Until the benchmark has done what only it can do."""
  del given
  deadline = time.monotonic() + PATIENCE_SECONDS
  while not (folder / "done").exists() and time.monotonic() < deadline:
    time.sleep(0.02)


def _limit_files(given, folder):
  """No file grows any more, where no small disk can be mounted."""
  del given, folder
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _jump(given, folder):
  del folder
  offset = given["seconds"]
  time.time = lambda: true_time() + offset
  time.time_ns = lambda: int(1e9 * (true_time() + offset))


def _nothing(given, folder):
  """Reads go wrong where they are made, older content shows where it is."""
  del given, folder


ACTIONS = {
  "kill": _sends(signal.SIGKILL),
  "kill all": _kill_all,
  "SIGTERM": _sends(signal.SIGTERM),
  "SIGINT": _sends(signal.SIGINT),
  "SIGTERM to the launcher": _sends(signal.SIGTERM, os.getppid),
  "SIGINT to the launcher": _sends(signal.SIGINT, os.getppid),
  "SIGSTOP": _sends(signal.SIGSTOP),
  "wait outside": _wait_outside,
  "limit files": _limit_files,
  "jump": _jump,
  "fail once": _nothing,
  "fail always": _nothing,
  "hang": _nothing,
  "older content": _nothing,
}
