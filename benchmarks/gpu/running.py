"""Workers: a process that measures on the card, at most one at a time.

The process that starts them never opens the card. An item that takes too long,
or takes its process down, costs itself alone: the next one has a new process.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu import plan

ROOT = pathlib.Path(__file__).parents[2]
LOG = "worker.log"


class OutOfTime(Exception):
  """The item took longer than it was given."""


class Workers:
  """Starts and ends them as items need it; a context.

  Attributes:
    log: what they and their libraries print, behind what was there.
  """

  def __init__(
    self,
    given: conditions_lib.Conditions,
    program: tuple[str, ...] = ("-m", "benchmarks.gpu.worker"),
  ):
    self._given, self._program = given, program
    self._worker: _Worker | None = None
    self.log = pathlib.Path(given.cache) / LOG

  def __enter__(self) -> "Workers":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  @property
  def platform(self) -> str:
    """jax's name of the device that they are to have."""
    return self._given.platform

  def close(self) -> None:
    if self._worker:
      self._worker.close()
      self._worker = None

  def measure(
    self,
    item: plan.Item,
    *,
    seconds: float,
    add: Callable[[dict[str, Any]], None],
  ) -> str:
    """Measures an item; hands on what it gives, as it comes.

    Args:
      item: to measure.
      seconds: that it has.
      add: gets the values.

    Returns:
      The first line of its error, or ''.

    Raises:
      OutOfTime: it did not end in time.
    """
    until = time.monotonic() + seconds
    if self._worker and (
      item.is_fresh or self._worker.has_card != item.has_card
    ):
      self.close()
    if not self._worker:
      self._worker = _Worker(
        self._given, self._program, item.has_card, self.log
      )
    worker = self._worker
    worker.ask({"measure": item.measure, "arguments": item.arguments})
    error, ended = "", False
    try:
      while not ended:
        values = worker.answer(until - time.monotonic())
        if values is None:
          error, ended = worker.last_words(), True
        else:
          ended = values.pop("end", False)
          error = values.pop("error", "")
          if values:
            add(values)
    finally:
      # After an error a card may answer everything with errors.
      if error or not ended:
        self.close()
    return error


class _Worker:
  """A process of `worker`."""

  def __init__(self, given, program, has_card: bool, log: pathlib.Path):
    self.has_card = has_card
    self._log = log
    self._start(given, program, log)
    self._lines: queue.Queue[str] = queue.Queue()
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _start(self, given, program, log: pathlib.Path) -> None:
    has_card = self.has_card
    platforms = "cuda,cpu" if has_card and given.device == "cuda" else "cpu"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
      self._from = file.tell()
      self._process = subprocess.Popen(
        [sys.executable, *program, given.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=file,
        text=True,
        cwd=ROOT,
        # Memory is taken as it is needed, so that its peak says something.
        env=os.environ
        | {
          "JAX_PLATFORMS": platforms,
          "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        },
        start_new_session=True,  # ends with all that it has started
      )

  def ask(self, what: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # `answer` says that it ended
      print(json.dumps(what), file=self._process.stdin, flush=True)

  def answer(self, seconds: float) -> dict[str, Any] | None:
    """Returns the next line; None: the process has ended.

    Raises:
      OutOfTime: nothing came.
    """
    try:
      line = self._lines.get(timeout=max(0.0, seconds))
    except queue.Empty:
      raise OutOfTime from None
    return json.loads(line) if line else None

  def last_words(self) -> str:
    """Says how it ended, with the last line that it printed."""
    code = self._process.wait()
    with open(self._log, "rb") as file:
      file.seek(self._from)
      lines = file.read().decode(errors="replace").strip().splitlines()
    return f"the process ended with {code}: {lines[-1] if lines else ''}"[:400]

  def close(self) -> None:
    """Ends it at once, with its children; what it compiled is kept."""
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    self._reader.join()
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()

  def _read(self) -> None:
    with self._process.stdout as lines:
      for line in lines:
        self._lines.put(line)
    self._lines.put("")
