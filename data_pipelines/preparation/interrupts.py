"""Ends a command on a signal by an exception, at once."""

import signal
import sys

from soundstream_jax import endings, os_signals


class Interrupts:
  """Ends the work by an exception, so that whoever does it can tidy up.

  SystemExit with status 128 + its number, or KeyboardInterrupt. Libraries may
  swallow an exception that a signal's handler raises (numpy 2's
  Generator.choice does), so it is raised again at the next `check`, which is at
  every piece of work.
  """

  def __init__(self):
    self._number = None
    self._handlers = os_signals.Handlers()
    self._patience = endings.patient()

  def __enter__(self):
    self._patience.__enter__()
    self._handlers.install(endings.obeyed(), self._interrupt)
    return self

  def __exit__(self, *_):
    self._handlers.restore()
    self._patience.__exit__(None, None, None)

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
