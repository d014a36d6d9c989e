"""Hears a request to stop, for a command whose children save first."""

import signal
import threading
from collections.abc import Callable

from soundstream_jax import endings, os_signals

# All have saved long before; a second request ends the process at once.
_PATIENCE_SECONDS = 86_400.0


class Stop:
  """A context manager; `asked` is set by the first signal.

  A second one ends this process, and with it those that it has started.
  """

  def __init__(self, say: Callable[[str], None]):
    """Args: say is told of the signal."""
    self.asked = threading.Event()
    self._say = say
    self._handlers = os_signals.Handlers()
    self._patient = endings.patient(_PATIENCE_SECONDS)

  def __enter__(self):
    self._patient.__enter__()
    self._handlers.install(endings.obeyed(), self._ask)
    return self

  def __exit__(self, *_):
    self._handlers.restore()
    self._patient.__exit__()

  def _ask(self, number, frame):
    del frame
    if not self.asked.is_set():
      self.asked.set()
      self._say(signal.Signals(number).name)
