"""Preemption: where a run stops once SIGTERM or SIGINT has told it to.

The signal may come to one process alone or to any of several, at any moment
from its start on; all of them stop before the same step. They say on the job's
board how many steps each has begun, and begin no more; the largest of these
numbers is where all stop. Only then do they go on, those that are behind. So
nobody waits for a step that another one never begins, and nobody computes more
than the step that is under way.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

import jax

from soundstream_jax import os_signals
from soundstream_jax.devices import board

# Between two looks for a request that came to another process.
_LOOK_SECONDS = 0.25
# What a process may take to say how far it is: its threads are never blocked.
_SAY_SECONDS = 60.0
# Between two looks at what is computed elsewhere.
_POLL_SECONDS = 0.05


class Stopping:
  """Whether a run goes on; a context manager around all of its steps."""

  def __init__(self, request: os_signals.StopRequest):
    self._request = request
    self._count = board.num_processes()
    self._id = board.process_id()
    self._folder = board.folder("stop")
    self._lock = threading.Lock()
    self._begun = 0  # steps since this process's start
    self._said = False  # how many; no more may begin until all have
    self._last: int | None = None  # agreed upon: no step after it begins
    self._agreed = threading.Event()
    self._closed = threading.Event()
    self._work: queue.SimpleQueue = queue.SimpleQueue()

  def __enter__(self):
    if self._count > 1:
      self._start(self._watch)
    self._start(self._do_work)
    return self

  def __exit__(self, *_):
    self._closed.set()
    self._work.put(None)

  def goes_on(self) -> bool:
    """Whether one more step may begin, the same in all processes."""
    if self._count == 1:
      return not self._request.asked
    with self._lock:
      if not self._said:
        self._begun += 1
        return True
    self._agreed.wait()
    if self._begun < self._last:
      self._begun += 1
      return True
    return False

  def is_due(self) -> bool:
    """Whether it is certain that no step begins any more; never waits."""
    if self._count == 1:
      return self._request.asked
    return self._agreed.is_set() and self._begun >= self._last

  def unless_due(self, function: Callable[[], Any]) -> tuple[Any, bool]:
    """Calls a function that may take long, in a thread.

    Returns:
      (its result, False); or (None, True) as soon as a stop is due. The thread
      is then left to itself, and no further call is answered.

    Raises:
      Exception: whatever the function raises.
    """
    answer: queue.SimpleQueue = queue.SimpleQueue()
    self._work.put((function, answer))
    while True:
      try:
        result, error = answer.get(timeout=_POLL_SECONDS)
      except queue.Empty:
        if self.is_due():
          return None, True
        continue
      if error is not None:
        raise error
      return result, False

  def was_asked(self) -> bool:
    """Whether there was a request so far, the same in all processes.

    Called once, in all of them, when everything is done.
    """
    if self._count == 1:
      return self._request.asked
    name = f"{self._folder}/end"
    if self._id == 0:
      self._request.wait(2 * _LOOK_SECONDS)  # for what others have just heard
      asked = self._said or self._request.asked
      board.post(name, "asked" if asked else "no")
      return asked
    return board.wait_for(name, seconds=_SAY_SECONDS) == "asked"

  def _start(self, run: Callable[[], None]) -> None:
    threading.Thread(target=run, name=run.__name__, daemon=True).start()

  def _do_work(self) -> None:
    """Runs in a thread: calls what `unless_due` is given, in turn."""
    while (task := self._work.get()) is not None:
      function, answer = task
      try:
        answer.put((function(), None))
      except BaseException as error:
        answer.put((None, error))
      del function, answer, task  # and what they hold

  def _watch(self) -> None:
    """Runs in a thread: waits for a request, and agrees on the last step."""
    asked = f"{self._folder}/asked"
    try:
      while not self._request.wait(_LOOK_SECONDS):
        if self._closed.is_set():
          return
        if board.look(asked) is not None:
          break
      else:
        board.post(asked, str(self._id))
      with self._lock:
        self._said = True
        board.post(f"{self._folder}/begun/{self._id}", str(self._begun))
      self._last = max(
        int(
          board.wait_for(
            f"{self._folder}/begun/{process}", seconds=_SAY_SECONDS
          )
        )
        for process in range(self._count)
      )
      self._agreed.set()
    except (jax.errors.JaxRuntimeError, TimeoutError):
      pass  # a process is lost, and this one with it: see devices.ending
