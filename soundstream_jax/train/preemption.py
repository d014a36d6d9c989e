"""Preemption: asks whether SIGTERM or SIGINT told the job to stop.

The signal may come to one process alone or to any of several.
"""

import os
import signal

import jax

from soundstream_jax import os_signals
from soundstream_jax.devices import distributed


class StopSignals:
  """Turns SIGTERM and SIGINT into a question; a second one is not caught.

  In a job of several processes SIGTERM is jax's, which tells all of them the
  same step to stop at, and SIGINT becomes SIGTERM.
  """

  def __init__(self):
    self._asked = False
    self._several = jax.process_count() > 1
    self._handlers = os_signals.Handlers()

  def asked(self, step: int) -> bool:
    """Asks once per step, in every process."""
    if self._several:
      return distributed.stop_asked(step)
    return self._asked

  def __enter__(self):
    numbers = (signal.SIGINT,)
    if not self._several:
      numbers += (signal.SIGTERM,)
    self._handlers.install(numbers, self._ask)
    return self

  def __exit__(self, *_):
    self._handlers.restore()

  def _ask(self, number, frame):
    del frame
    self._asked = True
    if self._several:
      os.kill(os.getpid(), signal.SIGTERM)
    self._handlers.restore(number)
