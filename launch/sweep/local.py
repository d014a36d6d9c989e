"""Points as processes of this machine, some of them at a time."""

import collections
import contextlib
import re
import time
from collections.abc import Callable, Sequence

from soundstream_jax import console, errors
from soundstream_jax.launch.sweep import events, stopping
from soundstream_jax.launch.sweep import plan as plan_lib
from soundstream_jax.launch.sweep import states as states_lib
from soundstream_jax.launch.sweep import work as work_lib

EXIT_FAILED = 1

_LOOK_SECONDS = 0.2
REPORT_SECONDS = 60.0
# Of a point's line on this command's output; its log has the whole.
_LINE = 110
_STEP_SECONDS = 10.0
_LOGGED = re.compile(r"^[IWEF]\d{4} [\d:.]+\s+\d+ \S+\] ")
_STEP = re.compile(r"step \d+/\d+ \|")
_BAD = re.compile(r"[Ee]rror: |[Ww]arning: ")


def run(
  plan: plan_lib.Plan,
  chosen: Sequence[plan_lib.Planned],
  *,
  at_once: int,
  report: Callable[[], None],
  stop: stopping.Stop,
) -> int:
  """Runs points until all have ended; returns the exit code.

  Args:
    plan: of the sweep.
    chosen: the points to run.
    at_once: how many at a time.
    report: called when a point has ended, and now and then.
    stop: lets all points save and ends the sweep.
  """
  working: dict[str, _Working] = {}
  try:
    return _all(plan, chosen, working, at_once, report, stop)
  finally:
    # After an error, as of a full disk: they save what they can.
    for each in working.values():
      each.work.end()


def _all(plan, chosen, working, at_once, report, stop) -> int:
  waiting = collections.deque(chosen)
  codes: dict[str, int] = {}
  told, reported = set(), time.monotonic()
  while (waiting and not stop.asked.is_set()) or working:
    for name, each in list(working.items()):
      if stop.asked.is_set():
        each.work.stop()
      code = each.work.poll()
      each.copy()
      if code is not None:
        del working[name]
        codes[name] = code
        report()
        reported = time.monotonic()
    for _ in range(len(waiting)):
      if stop.asked.is_set() or len(working) >= at_once:
        break
      planned = waiting.popleft()
      state = _look(plan, planned)
      if state.name in states_lib.LIVE:
        # Of an earlier command, or by hand: it goes on when that has ended.
        if planned.name not in told:
          told.add(planned.name)
          say(f"[{planned.name}] is at work already ({state.note})")
        waiting.append(planned)
      elif state.name == states_lib.DONE:
        codes[planned.name] = 0
      else:
        working[planned.name] = _Working(plan, planned, state)
    if time.monotonic() - reported > REPORT_SECONDS:
      report()
      reported = time.monotonic()
    time.sleep(_LOOK_SECONDS)
  if stop.asked.is_set() or errors.EXIT_PREEMPTED in codes.values():
    return errors.EXIT_PREEMPTED
  return EXIT_FAILED if any(codes.values()) else 0


def say(text: str) -> None:
  """Prints a line; a closed pipe or a full disk loses it, not the sweep."""
  with contextlib.suppress(OSError, ValueError, RuntimeError):
    print(text, flush=True)


def _look(plan, planned) -> states_lib.State:
  return states_lib.look(
    planned.workdir,
    num_steps=planned.point.config.num_steps,
    evaluation=plan.evaluation,
    out=plan.out,
  )


class _Working:
  """A point at work, and what of its log has been shown."""

  def __init__(self, plan, planned, state: states_lib.State):
    self._name = planned.name
    self._log = planned.workdir / work_lib.LOG
    self._shown = self._log.stat().st_size if self._log.is_file() else 0
    self._rest = b""
    self._said = 0.0
    say(
      f"[{self._name}] "
      + ("is evaluated" if state.trained else "is trained")
      + f" in {console.shown(planned.workdir)}"
    )
    self.work = work_lib.Work(
      planned.workdir,
      training=None if state.trained else planned.training,
      evaluation=plan.evaluation,
      log=self._log,
    )

  def copy(self) -> None:
    """Shows what has come to the log since, each line's beginning."""
    try:
      with open(self._log, "rb") as file:
        file.seek(self._shown)
        text = file.read()
    except OSError:
      return
    self._shown += len(text)
    *lines, self._rest = (self._rest + text).split(b"\n")
    for line in lines:
      shown = _LOGGED.sub("", console.line(line.decode(errors="replace")))
      if _STEP.match(shown):
        # Small models have many in a second.
        if time.monotonic() - self._said < _STEP_SECONDS:
          continue
        self._said = time.monotonic()
      elif self.work.stage == events.EVALUATE and not _BAD.search(shown):
        continue  # it prints tables
      if shown:
        say(f"[{self._name}] {shown}"[:_LINE])
