"""Preemption: asks whether SIGTERM or SIGINT told the job to stop.

The signal may come to one process alone or to any of several.
"""

import os
import signal
import threading

import jax

from soundstream_jax.devices import distributed


class StopSignals:
  """Turns SIGTERM and SIGINT into a question; a second one is not caught.

  In a job of several processes SIGTERM is jax's, which tells all of them the
  same step to stop at, and SIGINT becomes SIGTERM.
  """

  def __init__(self):
    self._asked = False
    self._several = jax.process_count() > 1
    self._previous = {}

  def asked(self, step: int) -> bool:
    """Asks once per step, in every process."""
    if self._several:
      return distributed.stop_asked(step)
    return self._asked

  def __enter__(self):
    # Signal handlers belong to the main thread.
    if threading.current_thread() is threading.main_thread():
      numbers = (signal.SIGINT,)
      if not self._several:
        numbers += (signal.SIGTERM,)
      for number in numbers:
        self._previous[number] = signal.signal(number, self._ask)
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _ask(self, number, frame):
    del frame
    self._asked = True
    if self._several:
      os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(number, self._previous[number])
