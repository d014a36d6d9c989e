"""Watchdog: a run that stands still says so, and who holds it up.

A step is stuck at 20 times the median of the last steps, data after a minute.
Then every process writes what its threads are doing to
WORKDIR/stacks/process_N.txt, and the primary names the slowest. Other phases
(compiling, saving, measuring) take their time and are not watched, nor is a
step for which another process is not ready because of them.

Notices on the board: "host/P", host's name; "phase/P", what process P does
instead of a step, refreshed while it lasts; "stuck/N/P", its report in the
N-th standstill; "verdict/N", what the primary has decided then.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
import queue
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from absl import logging

from soundstream_jax import errors
from soundstream_jax.devices import board
from soundstream_jax.train.monitoring import slowest, stacks

# A step is stuck at this many times the median of as many last steps, but not
# before so many seconds, nor before there are some to compare with.
STEP_MEDIANS = 20
STEPS_COMPARED = 50
STEP_SECONDS = 5.0
FEWEST_STEPS = 3
DATA_SECONDS = 60.0

# Between two looks.
POLL_SECONDS = 0.5
# That the board, a disk, and the other processes get to answer.
ANSWER_SECONDS = 5.0

_MUTE = object()  # the board's answer when there is none


@dataclasses.dataclass(frozen=True)
class _Now:
  """What the main thread is in; `entries` differs once it has moved on."""

  phase: str
  step: int
  seconds: float  # in the phase, but for what the process has slept
  entries: int


class Watchdog:
  """Watches the phases that the loop says it is in; a context manager."""

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    abort: bool = False,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Args: with `abort` a standstill ends the job, errors.EXIT_STUCK."""
    self._folder = workdir / "stacks"
    self._abort, self._clock = abort, clock
    self._host = socket.gethostname()
    self._lock = threading.Lock()
    self._phase, self._step, self._entries = "", 0, 0
    self._since = clock()
    self._slept = 0.0  # since then: of a process that was stopped
    self._spent = 0.0  # in data and step since the last step
    self._durations = collections.deque(maxlen=STEPS_COMPARED)
    self._known = 0  # standstills so far
    self._told = ""  # our newest notice of a phase
    self._seen: dict[str, str] = {}  # such notices of others
    self._mute = False  # whether the board was, when last asked
    self._closed = threading.Event()
    self._thread = threading.Thread(
      target=self._run, name="watchdog", daemon=True
    )

  def __enter__(self):
    self._count, self._process = jax.process_count(), jax.process_index()
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._closed.set()
    self._thread.join(timeout=ANSWER_SECONDS)

  @contextlib.contextmanager
  def phase(self, name: str, step: int) -> Iterator[None]:
    """Says what the loop does inside.

    Args:
      name: "data" and "step" are watched: waiting for a batch, and for the
        devices. Anything else, "save" say, is not.
      step: that it is for.
    """
    before = self._enter(name, step)
    start = self._clock()
    try:
      yield
    finally:
      if name in ("data", "step"):
        self._spent += self._clock() - start
      self._enter(*before)

  def stepped(self) -> None:
    """One more step has been computed."""
    with self._lock:
      self._durations.append(self._spent)
    self._spent = 0.0

  def _enter(self, name: str, step: int) -> tuple[str, int]:
    with self._lock:
      before = self._phase, self._step
      self._phase, self._step = name, step
      self._since, self._slept = self._clock(), 0.0
      self._entries += 1
    return before

  def _now(self) -> _Now:
    with self._lock:
      seconds = self._clock() - self._since - self._slept
      return _Now(self._phase, self._step, seconds, self._entries)

  def _limit(self, phase: str) -> float:
    """Seconds after which a phase is stuck."""
    if phase == "data":
      return DATA_SECONDS
    with self._lock:
      durations = list(self._durations)
    if phase != "step" or len(durations) < FEWEST_STEPS:
      return float("inf")
    return max(STEP_SECONDS, STEP_MEDIANS * statistics.median(durations))

  def _run(self) -> None:
    self._ask(lambda: board.post(f"host/{self._process}", self._host))
    self._known = self._newest()
    looks = 0
    while self._sleep(POLL_SECONDS):
      looks += 1
      now = self._now()
      self._tell(now)
      if now.seconds > self._limit(now.phase):
        if self._others_are_busy(now):
          self._restart(now)
        else:
          self._standstill(now, number=self._newest() + 1)
      elif looks % 2 == 0 and self._newest() > self._known:
        self._standstill(now, number=self._newest(), asked=True)

  def _tell(self, now: _Now) -> None:
    """Puts up what takes this process longer, unless it is a step."""
    lasts = now.phase not in ("", "step") and now.seconds > POLL_SECONDS
    text = f"{now.phase} {now.entries} {now.seconds:.1f}" if lasts else ""
    if text != self._told and self._count > 1:
      self._told = text
      self._ask(lambda: board.post(f"phase/{self._process}", text))

  def _restart(self, now: _Now) -> None:
    """Counts a phase from here on."""
    with self._lock:
      if self._entries == now.entries:
        self._since, self._slept = self._clock(), 0.0

  def _others_are_busy(self, now: _Now) -> bool:
    """Whether a step waits for a process that is alive and not yet there.

    The notice of one that is dead does not change from one look to the next.
    """
    if now.phase != "step" or self._count == 1:
      return False
    before = self._seen
    self._seen = self._ask(lambda: board.look_below("phase")) or {}
    return any(
      text and text != before.get(process)
      for process, text in self._seen.items()
    )

  def _newest(self) -> int:
    """Returns the number of the newest standstill."""
    found = self._ask(lambda: board.look_below("stuck")) or {}
    numbers = [int(name.split("/")[0]) for name in found]
    return max(numbers, default=self._known)

  def _standstill(self, now: _Now, *, number: int, asked: bool = False) -> None:
    """Reports, finds the slowest, and waits until it goes on.

    Args:
      now: what this process is in.
      number: of this standstill.
      asked: whether another process has found it.
    """
    found, self._known = self._clock(), number
    report = slowest.Report(
      self._host, self._process, now.phase, now.step, round(now.seconds, 1)
    )
    name = f"stuck/{number}/{self._process}"
    self._ask(lambda: board.post(name, report.to_json()))
    what = f"{now.phase or 'no phase'} of step {now.step}: {now.seconds:.0f} s"
    self._write_stacks(what)
    if not asked:
      logging.warning(
        "stuck: process %d on %s, %s; its stacks are in %s",
        self._process,
        self._host,
        what,
        self._path(),
      )
    decide = self._name if self._process == 0 else self._hear
    if decide(now, number) and self._abort:
      self._end()
    while self._now().entries == now.entries:
      if not self._sleep(POLL_SECONDS):
        return
    if not asked or self._process == 0:
      waited = now.seconds + self._clock() - found
      logging.warning("step %d goes on after %.0f s", now.step, waited)

  def _name(self, now: _Now, number: int) -> bool:
    """Names the slowest; returns whether the job should end. In process 0."""
    self._sleep(ANSWER_SECONDS)
    texts = self._ask(lambda: board.look_below(f"stuck/{number}")) or {}
    hosts = self._ask(lambda: board.look_below("host")) or {}
    logging.warning(
      "stuck at step %d; slowest: %s. Stacks are in %s",
      now.step,
      slowest.name(
        [slowest.from_json(text) for text in texts.values()],
        hosts={int(process): host for process, host in hosts.items()},
        count=self._count,
      ),
      self._folder,
    )
    ends = self._abort and self._now().entries == now.entries
    self._ask(lambda: board.post(f"verdict/{number}", "end" if ends else "on"))
    if ends and self._count > 1:
      # The board goes with this process: others read first.
      self._sleep(4 * POLL_SECONDS)
    return ends

  def _hear(self, now: _Now, number: int) -> bool:
    """Waits for process 0's decision; returns whether the job should end."""
    start, name = self._clock(), f"verdict/{number}"
    while True:
      verdict = self._ask(lambda: board.look(name))
      if verdict is not None:
        return verdict == "end"
      patience = ANSWER_SECONDS if self._mute else 3 * ANSWER_SECONDS
      if self._clock() - start > patience:
        break
      if not self._sleep(POLL_SECONDS):
        return False
    if self._now().entries != now.entries:
      return False
    logging.warning(
      "stuck at step %d; process 0 does not answer: it, its host or the "
      "network to it is stopped or dead",
      now.step,
    )
    return True

  def _end(self) -> None:
    logging.error(
      "process %d ends: watchdog_abort. Start the same command again to resume",
      self._process,
    )
    for stream in (sys.stdout, sys.stderr):
      with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()
    os._exit(errors.EXIT_STUCK)

  def _path(self) -> pathlib.Path:
    return self._folder / f"process_{self._process}.txt"

  def _write_stacks(self, what: str) -> None:
    failure = self._answer(
      lambda: stacks.append(self._path(), what),
      otherwise="the disk does not answer",
      seconds=ANSWER_SECONDS,
    )
    if failure:
      logging.warning(
        "stacks could not be written to %s (%s)", self._path(), failure
      )

  def _ask(self, question: Callable[[], Any]) -> Any:
    """Returns what the board says, or None where it does not answer."""
    if self._count == 1:
      return question()
    # A board that was mute once is not waited for again and again.
    seconds = POLL_SECONDS if self._mute else ANSWER_SECONDS
    answer = self._answer(question, otherwise=_MUTE, seconds=seconds)
    self._mute = answer is _MUTE
    return None if self._mute else answer

  def _answer(
    self, question: Callable[[], Any], *, otherwise: Any, seconds: float
  ) -> Any:
    """Returns an answer, or `otherwise` if it takes too long or fails."""
    answers = queue.SimpleQueue()

    def ask() -> None:
      try:
        answers.put(question())
      except Exception:
        answers.put(otherwise)

    start = self._clock()
    threading.Thread(target=ask, daemon=True).start()
    try:
      return answers.get(timeout=seconds)
    except queue.Empty:
      return otherwise
    finally:
      self._note_sleep(start, seconds)

  def _sleep(self, seconds: float) -> bool:
    """Returns False once the watch is over."""
    start = self._clock()
    closed = self._closed.wait(seconds)
    self._note_sleep(start, seconds)
    return not closed

  def _note_sleep(self, start: float, most: float) -> None:
    """Takes out what no clock of a stopped process may count."""
    over = self._clock() - start - most - POLL_SECONDS
    if over > 0:
      with self._lock:
        self._slept += over
