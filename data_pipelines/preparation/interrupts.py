"""SIGTERM and SIGINT, for commands that are to end in good order."""

import signal
import sys
import threading
from collections.abc import Iterable, Iterator


class Interrupts:
  """Ends the work by an exception, so that whoever does it can tidy up.

  SystemExit with status 128 + SIGTERM, or KeyboardInterrupt. Libraries may
  swallow an exception that a signal's handler raises (numpy 2's
  Generator.choice does), so it is raised again at the next `check`, which is at
  every piece of work.
  """

  def __init__(self):
    self._number = None
    self._previous = {}

  def __enter__(self):
    # Signal handlers belong to the main thread.
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._interrupt)
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def watch(self, pieces: Iterable) -> Iterator:
    """Yields from pieces until a signal came."""
    for piece in pieces:
      self.check()
      yield piece

  def _interrupt(self, number, frame):
    del frame
    self._number = number
    self.check()

  def check(self) -> None:
    """Raises what a signal that has come calls for."""
    if self._number == signal.SIGINT:
      raise KeyboardInterrupt
    if self._number is not None:
      sys.exit(128 + self._number)
