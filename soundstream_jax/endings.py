"""Ends a command on SIGINT, SIGTERM and SIGHUP at once, whatever it is at.

Python hears a signal between two of its instructions, a compiler takes
minutes, and an exception that a signal raises may come up anywhere: libraries
swallow it, and modules that are being imported break by it. So a thread ends
the process. Nothing is half-written then: `whole_files` sees to that.

Training has its own way (`os_signals.StopRequest`): it saves first.
"""

import contextlib
import os
import select
import signal
import threading
import time

# A block that ends the process itself has so long for it.
GRACE_SECONDS = 5.0
# Both a terminal's group and whoever started it may pass one request on.
_SAME_SECONDS = 1.0

# Ctrl-C, an end that is asked for, and a terminal that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Names of files that go with the process: those that `whole_files` is writing.
unfinished: set[str] = set()

_ended = threading.Event()
_beginning = threading.Lock()  # of a file, or the end
_patient: list[float] = []  # seconds to wait for blocks that are at work


class Stopped(SystemExit):
  """One of SIGNALS; the exit code is that of a shell, 128 + its number."""


def obey() -> None:
  """Has SIGNALS end this process, from now to its exit."""
  numbers = obeyed()
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  threading.Thread(target=_watch, args=(reader, numbers), daemon=True).start()
  for number in numbers:
    signal.signal(number, lambda *_: None)  # or nothing comes to the pipe
  # A child's signals are not ours.
  os.register_at_fork(after_in_child=lambda: _forget(numbers))


def obeyed() -> list[int]:
  """Returns the signals that end a command; nohup and a shell's & take some."""
  return [
    number
    for number in SIGNALS
    if signal.getsignal(number) is not signal.SIG_IGN
  ]


def begin_file(name: str) -> None:
  """Makes an empty file that goes with the process, unless that ends."""
  with _beginning:
    if not _ended.is_set():
      unfinished.add(name)
      os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
      return
  threading.Event().wait()  # for the end, which is near


class patient:
  """Lets a block, which handles the signals, end the process itself.

  A second signal ends it at once. No generator: one that is forgotten is closed
  by Python, and a block that is not left has all its time.
  """

  def __init__(self, seconds: float = GRACE_SECONDS):
    """Args: seconds that it has from the first signal on."""
    self._seconds = seconds

  def __enter__(self) -> None:
    _patient.append(self._seconds)

  def __exit__(self, *_) -> None:
    _patient.remove(self._seconds)


def _watch(reader: int, numbers: list[int]) -> None:
  number = 0
  while number not in numbers:
    number = os.read(reader, 1)[0]
  began = time.monotonic()
  while _patient:
    left = began + max(_patient, default=0) - time.monotonic()
    if left <= 0:
      break
    if select.select([reader], [], [], left)[0]:
      again = os.read(reader, 1)[0] in numbers
      if again and time.monotonic() - began >= _SAME_SECONDS:
        break
  _ended.set()
  # A file system that does not answer may hold it for ever.
  _beginning.acquire(timeout=GRACE_SECONDS)
  for name in list(unfinished):
    with contextlib.suppress(OSError):
      os.unlink(name)
  with contextlib.suppress(OSError):
    os.write(2, b"interrupted\n")
  os._exit(128 + number)


def _forget(numbers: list[int]) -> None:
  signal.set_wakeup_fd(-1)
  for number in numbers:
    signal.signal(number, signal.SIG_DFL)
