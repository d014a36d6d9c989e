"""Signals of the system: handlers for a while, and requests to stop."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker

# Both a terminal's group and a launcher may pass one request on.
_SAME_SECONDS = 1.0


class Handlers:
  """The handlers that `install` has replaced.

  Python lets only the main thread handle signals: in any other one, nothing is
  installed, and nothing to be put back.
  """

  def __init__(self):
    self._previous = {}

  def install(self, numbers: Iterable[int], handler: Callable) -> None:
    """Has `handler`, called with (number, frame), handle these signals."""
    if threading.current_thread() is threading.main_thread():
      for number in numbers:
        self._previous[number] = signal.signal(number, handler)

  def restore(self, *numbers: int) -> None:
    """Puts back the handlers of these signals; of all, if none is named."""
    for number in numbers or self._previous:
      signal.signal(number, self._previous[number])


# A scheduler's, Ctrl-C, and a terminal that is closed.
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
  """Processes that the block spawns begin with STOPS blocked.

  A terminal's Ctrl-C also comes to an interpreter that is starting and has no
  handlers yet. A child calls `hear` once it has its own.
  """
  # The first spawn starts this one too, which unblocks signals.
  resource_tracker.ensure_running()
  before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear() -> None:
  """Lets STOPS come to a process that `deaf_children` has begun."""
  signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


class StopRequest:
  """A signal that asks for the end, kept until somebody asks; a context manager.

  Noticed at once and by any thread, also while the main thread is inside
  compiled code, where Python's own handlers have to wait. Another one, a second
  later or more, ends the process. Outside the main thread nothing is caught.
  """

  def __init__(self):
    self._event = threading.Event()
    self._first: float | None = None  # when it came
    self._handlers = Handlers()
    self._pipe: tuple[int, int] | None = None

  @property
  def asked(self) -> bool:
    return self._event.is_set()

  def wait(self, seconds: float) -> bool:
    """Waits for the request for so long; returns whether it has come."""
    return self._event.wait(seconds)

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._pipe = os.pipe()
      os.set_blocking(self._pipe[1], False)
      self._fd_before = signal.set_wakeup_fd(
        self._pipe[1], warn_on_full_buffer=False
      )
      # nohup has a closed terminal ignored.
      ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
      heard = STOPS[:-1] if ignored else STOPS
      self._handlers.install(heard, lambda *_: self._event.set())
      self._reader = threading.Thread(target=self._read, daemon=True)
      self._reader.start()
    return self

  def __exit__(self, *_):
    if self._pipe is not None:
      self._handlers.restore()
      signal.set_wakeup_fd(self._fd_before)
      os.write(self._pipe[1], b"\0")
      self._reader.join()
      for end in self._pipe:
        os.close(end)
      self._pipe = None

  def _read(self) -> None:
    """Runs in a thread: Python writes a signal's number into the pipe."""
    while number := os.read(self._pipe[0], 1)[0]:
      if number not in STOPS:
        continue
      now = time.monotonic()
      if self._first is None:
        self._first = now
      elif now - self._first >= _SAME_SECONDS:
        os._exit(128 + number)
      self._event.set()
