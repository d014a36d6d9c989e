"""A thread that writes logs, so that no disk can stop or slow a run.

Logs are never worth a run: what the disk refuses, what cannot be converted and
what a slow disk leaves waiting for too long is dropped, counted, and said: once
when the first is lost, and the count at the end.
"""

import atexit
import collections
import pathlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from soundstream_jax import errors

# Entries that may wait for a slow disk; beyond them new ones are dropped.
LONGEST_QUEUE = 2000

# Seconds that `close` waits for what is still to be written.
CLOSE_SECONDS = 10


class LogThread:
  """Calls functions one after the other; none of their errors gets out."""

  def __init__(self, folder: pathlib.Path, files: Mapping[str, Any]):
    """Starts the thread, which opens the files.

    Args:
      folder: where they are, for warnings.
      files: things to open and close, by what a warning calls them.
    """
    self._folder, self._files = folder, files
    self._waiting = collections.deque()
    self._changed = threading.Condition()
    self._closing = False
    self._lost = 0
    self._said = set()
    self._thread = threading.Thread(
      target=self._run, name="log writer", daemon=True
    )
    self._thread.start()
    # A run that ends by an error has not closed its log.
    atexit.register(self.close)

  def add(self, what: str, write: Callable[[], None]) -> None:
    """Hands over an entry; returns at once.

    Args:
      what: it is, for warnings, as "metrics.jsonl".
      write: writes it, all or nothing.
    """
    with self._changed:
      full = len(self._waiting) >= LONGEST_QUEUE
      if not full:
        self._waiting.append((what, write))
        self._changed.notify()
    if full:
      # Not a word about its space: the disk might not answer.
      self._warn(what, "slow", "the disk has not answered for too long")
      with self._changed:
        self._lost += 1

  def close(self) -> None:
    """Waits, not for ever, until all is written, and says what was lost."""
    with self._changed:
      if self._closing:
        return
      self._closing = True
      self._changed.notify()
    atexit.unregister(self.close)
    self._thread.join(timeout=CLOSE_SECONDS)
    with self._changed:
      lost = self._lost + len(self._waiting) + self._thread.is_alive()
      self._waiting.clear()
    if lost:
      logging.warning(
        "%d log entries of %s were lost; a warning above says why. The model "
        "and its checkpoints are not touched by this.",
        lost,
        self._folder,
      )

  def _run(self) -> None:
    for what, file in self._files.items():
      self._try(what, file.open)
    while (entry := self._next()) is not None:
      if not self._try(*entry):
        with self._changed:
          self._lost += 1
    for what, file in self._files.items():
      self._try(what, file.close)

  def _next(self) -> tuple[str, Callable[[], None]] | None:
    with self._changed:
      while not self._waiting and not self._closing:
        self._changed.wait()
      return self._waiting.popleft() if self._waiting else None

  def _try(self, what: str, act: Callable[[], None]) -> bool:
    try:
      act()
    except Exception as error:
      reason = getattr(error, "strerror", None) or error
      kind = (type(error), getattr(error, "errno", None))
      self._warn(what, kind, f"{reason}; {errors.space(self._folder)}")
      return False
    return True

  def _warn(self, what: str, kind: object, reason: str) -> None:
    """Says the first of each kind."""
    with self._changed:
      first = kind not in self._said
      self._said.add(kind)
    if first:
      logging.warning(
        "%s could not be written to %s (%s). Training goes on without; entries "
        "that are lost are counted; later ones are written once they can be.",
        what,
        self._folder,
        reason,
      )
