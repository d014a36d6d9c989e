"""Installs handlers of signals for a while, and puts the earlier ones back."""

import signal
import threading
from collections.abc import Callable, Iterable


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
