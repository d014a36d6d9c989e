"""Ends a command, whatever it is at, on SIGINT and SIGTERM.

Training has its own way (`os_signals.StopRequest`): it saves and then ends.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable

# From a signal that asks for the end to the end.
GRACE_SECONDS = 5.0
# Both a terminal's group and whoever started it may pass one request on.
_SAME_SECONDS = 1.0


class Stopped(SystemExit):
  """SIGINT or SIGTERM; the exit code is that of a shell, 128 + its number."""


def obey(clean: Callable[[], None]) -> None:
  """Has SIGINT and SIGTERM end this process, from now to its exit.

  The first one raises `Stopped` in the main thread, so that whoever is at work
  tidies up. But Python hears a signal between two of its instructions, and a
  compiler takes minutes; and libraries swallow exceptions. So a thread ends
  the process GRACE_SECONDS later, or at the second signal.

  Args:
    clean: called before a thread ends the process.
  """
  numbers = [
    number
    for number in (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(number) is not signal.SIG_IGN  # nohup's, a shell's &
  ]
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  threading.Thread(
    target=_watch, args=(reader, numbers, clean), daemon=True
  ).start()
  came = []

  def stop(number, frame):
    del frame
    came.append(number)
    if len(came) == 1:
      raise Stopped(128 + number)

  for number in numbers:
    signal.signal(number, stop)
  # A child's signals are not ours.
  os.register_at_fork(after_in_child=lambda: _forget(numbers))


def _watch(reader: int, numbers: list[int], clean: Callable[[], None]) -> None:
  number = 0
  while number not in numbers:
    number = os.read(reader, 1)[0]
  began = time.monotonic()
  while (left := began + GRACE_SECONDS - time.monotonic()) > 0:
    if select.select([reader], [], [], left)[0]:
      again = os.read(reader, 1)[0] in numbers
      if again and time.monotonic() - began >= _SAME_SECONDS:
        break
  clean()
  os._exit(128 + number)


def _forget(numbers: list[int]) -> None:
  signal.set_wakeup_fd(-1)
  for number in numbers:
    signal.signal(number, signal.SIG_DFL)
