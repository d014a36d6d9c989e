"""python -m soundstream_jax.launch.local --processes=2 --devices=4 -- FLAGS

Runs `soundstream_jax.train FLAGS` as several processes on this machine, each
with its own CPU devices, and prefixes their lines with the process's number.
When one ends badly it is named, the others are ended, and the whole job starts
again from its last checkpoint, a bounded number of times. Ctrl-C and SIGTERM
let all processes save and stop; a second one ends them at once.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from absl import app, flags

from soundstream_jax import endings, errors
from soundstream_jax.launch import arguments

# Seconds that survivors get to end by themselves once all must.
GRACE_SECONDS = 10

# Both a terminal's group and whoever started it may pass one request on.
_SAME_SECONDS = 1.0

# What training says of another process that has ended the job.
_BLAME = re.compile(r"error: process (\d+) of \S+ ended: ")

_PROCESSES = flags.DEFINE_integer(
  "processes", 2, "How many processes.", lower_bound=1
)
_DEVICES = flags.DEFINE_integer(
  "devices", 1, "CPU devices of each process.", lower_bound=1
)
_RESTARTS = flags.DEFINE_integer(
  "restarts", 3, "How often the job may start again.", lower_bound=0
)
_HEARTBEAT = flags.DEFINE_integer(
  "heartbeat_seconds",
  20,
  "A process that is silent for so long is dead.",
  lower_bound=1,
)
_CPUS = flags.DEFINE_list(
  "cpus",
  None,
  "CPUs that every process may use, as in 0,1; default those of the launcher. "
  "Rounding depends on their number.",
)


def main(argv):
  code = errors.run(_launch, argv[1:])
  try:
    if sys.stdout is not None:
      sys.stdout.flush()
  except (OSError, ValueError):
    # Python would flush it again, and end with a code of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  sys.exit(code)


def _launch(words: list[str]) -> int:
  training = arguments.check(words, example="--processes=2")
  arguments.check_devices(
    training.config,
    _PROCESSES.value * _DEVICES.value,
    processes=_PROCESSES.value,
  )
  _pin()
  stop = _Stop()
  for attempt in range(_RESTARTS.value + 1):
    job = _Job(words)
    stop.job = job
    culprit, code = job.wait(stop)
    if code in errors.FINAL:
      if code:
        _say(f"process {culprit} ended first, with exit code {code}")
      return code
    _say(f"process {culprit} ended first, {_describe(code)}")
    if stop.asked:
      return errors.EXIT_PREEMPTED
    if attempt < _RESTARTS.value:
      _say(f"starting the job again ({attempt + 1} of {_RESTARTS.value})")
  _say(f"giving up after {_RESTARTS.value} restarts")
  return code if code > 0 else 128 - code


class _Stop:
  """Passes SIGTERM on to the job; so are Ctrl-C and a closed terminal."""

  def __init__(self):
    self.asked = False
    self.job = None
    self._first = 0.0  # when it was asked
    for number in endings.obeyed():
      signal.signal(number, self._ask)

  def _ask(self, number, frame):
    del frame
    if self.asked and time.monotonic() - self._first < _SAME_SECONDS:
      return
    if self.job is not None:
      self.job.signal(signal.SIGKILL if self.asked else signal.SIGTERM)
    if not self.asked:
      self._first = time.monotonic()
      _say(f"{signal.Signals(number).name}: all processes save and stop")
    self.asked = True


class _Job:
  """All processes of one attempt."""

  def __init__(self, training: list[str]):
    count = _PROCESSES.value
    environment = {
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "PYTHONUNBUFFERED": "1",
      "XLA_FLAGS": " ".join(
        (
          os.environ.get("XLA_FLAGS", ""),
          f"--xla_force_host_platform_device_count={_DEVICES.value}",
        )
      ),
    }
    coordinator = f"127.0.0.1:{_free_port()}"
    self._processes = [
      subprocess.Popen(
        [
          sys.executable,
          "-m",
          "soundstream_jax.train",
          *training,
          f"--coordinator={coordinator}",
          f"--num_processes={count}",
          f"--process_id={index}",
          f"--heartbeat_seconds={_HEARTBEAT.value}",
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        # Ctrl-C reaches the launcher alone, which passes it on.
        start_new_session=True,
      )
      for index in range(count)
    ]
    # Processes that the others say ended first, as it is heard.
    self._blamed = []
    self._readers = [
      threading.Thread(
        target=_copy, args=(index, process, self._blamed), daemon=True
      )
      for index, process in enumerate(self._processes)
    ]
    for reader in self._readers:
      reader.start()
    numbers = ", ".join(str(process.pid) for process in self._processes)
    _say(f"started; process ids {numbers}")

  def signal(self, number: int) -> None:
    for process in self._processes:
      if process.poll() is None:
        process.send_signal(number)

  def wait(self, stop: _Stop) -> tuple[int, int]:
    """Waits for the end of all; returns (first to end badly, its exit code).

    (0, 0) where all ended well. Negative codes are signals.
    """
    first = None
    deadline = None
    while any(process.poll() is None for process in self._processes):
      time.sleep(0.05)
      if first is None and (first := self._first()) is not None:
        # Those that save together end together; others never will.
        patience = GRACE_SECONDS
        if first[1] == errors.EXIT_PREEMPTED or stop.asked:
          patience = _HEARTBEAT.value + GRACE_SECONDS
        deadline = time.monotonic() + patience
      if deadline is not None and time.monotonic() > deadline:
        for index, process in enumerate(self._processes):
          if process.poll() is None:
            _say(f"process {index} does not end by itself: it is killed")
        self.signal(signal.SIGKILL)
        deadline = float("inf")
    for reader in self._readers:
      reader.join(timeout=5)
    first = first or self._first()
    if first is None:
      return 0, 0
    if not self._blamed:
      return first
    # It may end after those that it has ended.
    culprit = self._blamed[0]
    return culprit, max(self._processes[culprit].returncode, 0) or first[1]

  def _first(self) -> tuple[int, int] | None:
    """Returns a process that has ended badly, and its exit code.

    Of several rather one that was not ended by jax for the sake of another.
    """
    codes = [process.poll() for process in self._processes]
    bad = [(index, code) for index, code in enumerate(codes) if code]
    return min(bad, key=lambda b: b[1] == -signal.SIGABRT, default=None)


def _copy(index: int, process: subprocess.Popen, blamed: list[int]) -> None:
  """Reads to the end, whatever becomes of it: a full pipe stops training."""
  for line in process.stdout:
    if found := _BLAME.match(line):
      blamed.append(int(found[1]))
    if not line.startswith("[Gloo]"):
      _print(f"[{index}] {line}")


def _describe(code: int) -> str:
  if code < 0:
    return f"killed by {signal.Signals(-code).name}"
  return f"with exit code {code}"


def _pin() -> None:
  if not hasattr(os, "sched_setaffinity"):
    return
  if _CPUS.value:
    try:
      os.sched_setaffinity(0, {int(cpu) for cpu in _CPUS.value})
    except (OSError, ValueError) as error:
      available = ",".join(map(str, sorted(os.sched_getaffinity(0))))
      raise errors.InputError(
        f"--cpus={','.join(_CPUS.value)}: {error}. This machine lends "
        f"{available}."
      ) from None
  cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
  _say(f"{_PROCESSES.value} processes on the CPUs {cpus}")


def _free_port() -> int:
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]


def _say(text: str) -> None:
  _print(f"[launch] {text}\n")


def _print(text: str) -> None:
  # A closed pipe or a full disk behind stdout loses lines, not the job; so
  # does a signal amid one, whose handler prints too (RuntimeError).
  with contextlib.suppress(OSError, ValueError, RuntimeError):
    print(text, end="", flush=True)


if __name__ == "__main__":
  app.run(main, flags_parser=arguments.parse)
