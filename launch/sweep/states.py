"""States of points, from what is on disk: whoever looks, and whoever runs them."""

import dataclasses
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from soundstream_jax import console, errors
from soundstream_jax.checkpoint import holder
from soundstream_jax.evaluate import logs
from soundstream_jax.launch.sweep import events

WAITING = "waiting"
RUNNING = "running"
SAVING = "saving"
STOPPED = "stopped"
FAILED = "failed"
EVALUATING = "evaluating"
DONE = "done"

# At work just now.
LIVE = (RUNNING, SAVING, EVALUATING)

METRIC = "eval/log_mel"
# In which a process elsewhere shows that it lives, or has begun to.
_YOUNG_SECONDS = 120.0
_TAIL_BYTES = 8192
_STOPS = re.compile(r"asked to stop|stop: saving step")


@dataclasses.dataclass(frozen=True)
class State:
  """A point, as it is now."""

  name: str  # of the states above
  step: int = 0
  seconds: float = 0.0  # that it was at work
  seconds_left: float | None = None  # of training, by its last speed
  metric: float | None = None  # METRIC, the last one
  trained: bool = False
  note: str = ""  # why it failed, or where it is
  job: str = ""  # of a cluster, the last one
  hardware: str = ""
  git_revision: str = ""


def look(
  workdir: pathlib.Path,
  *,
  num_steps: int,
  evaluation: Sequence[str],
  out: pathlib.Path,
) -> State:
  """Returns the state of a point.

  Args:
    workdir: of the point; it need not be there.
    num_steps: that it is trained for.
    evaluation: flags of its evaluation; another one is yet to be made.
    out: the sweep's folder, which its log may be in.
  """
  found = _History(list(evaluation))
  for event in events.read(workdir):
    found.add(event)
  rows = _rows(workdir)
  step = max((row["step"] for row in rows), default=0)
  measured = [row[METRIC] for row in rows if row.get(METRIC) is not None]
  name, note = _name(found, workdir, out)
  seconds = found.seconds
  if found.open:
    last = time.time() if name in LIVE else _last_sign(workdir)
    seconds += max(0.0, last - found.began)
  left = None
  speed = next(
    (r[_SPEED] for r in reversed(rows) if r.get(_SPEED)),
    None,
  )
  if speed and not found.trained:
    left = max(0, num_steps - step) / speed
  return State(
    name=name,
    step=step,
    seconds=round(seconds, 1),
    seconds_left=left,
    metric=measured[-1] if measured else None,
    trained=found.trained,
    note=note,
    job=found.job,
    hardware=found.hardware,
    git_revision=found.git_revision,
  )


def evaluated(folder: pathlib.Path, words: Sequence[str]) -> bool:
  """Whether the last thing that happened in a folder is this evaluation."""
  found = _History(list(words))
  for event in events.read(folder):
    found.add(event)
  return (
    not found.open
    and found.evaluated
    and (folder / "evaluation.json").is_file()
  )


def why(workdir: pathlib.Path, out: pathlib.Path) -> str:
  """Returns in one line why the last process of a workdir failed."""
  found = _History([])
  for event in events.read(workdir):
    found.add(event)
  return _why(found.code or 0, found.stage, _log(found, workdir, out))


def provenance(folder: pathlib.Path) -> dict[str, Any]:
  """Returns git revision, seconds and hardware of what ran in a folder."""
  found = _History([])
  for event in events.read(folder):
    found.add(event)
  return {
    "git_revision": found.git_revision,
    "seconds": round(found.seconds, 1),
    "hardware": found.hardware,
  }


def steps_per_second(
  workdir: pathlib.Path, start_step: int
) -> dict[bool, float]:
  """Returns the speed of a run, by whether discriminators took part.

  Args:
    workdir: of the run.
    start_step: the first with discriminators.
  """
  found = {}
  rows = [row for row in _rows(workdir) if row.get(_SPEED)]
  for kind in (False, True):
    # The first lap has what came before the first step, compiling too.
    of_kind = [r for r in rows if (r["step"] > start_step) == kind][1:]
    seconds = sorted(1 / row[_SPEED] for row in of_kind)
    if seconds:
      found[kind] = 1 / seconds[len(seconds) // 2]
  return found


_SPEED = "speed/steps_per_second"


class _History:
  """The events of a point so far."""

  def __init__(self, evaluation: list[str]):
    self._evaluation = evaluation
    self.stage = ""  # of the last process that began
    self.open = False  # it has not said that it ended
    self.began = 0.0
    self.process: Mapping[str, Any] | None = None
    self.asked = False
    self.trained = self.evaluated = False
    self.code: int | None = None  # of the last that ended
    self.job = self.log = ""  # of a cluster
    self.queued = False
    self.seconds = 0.0
    self.hardware = self.git_revision = ""
    self._words: Sequence[str] = []
    self._last = 0.0

  def add(self, event: Mapping[str, Any]) -> None:
    kind, when = event.get("event"), float(event.get("time") or 0)
    if kind == "submitted":
      self.job, self.log = event.get("job", ""), event.get("log", "")
      self.queued = True
    elif kind == "requeued":
      self.queued = True
    elif kind in (events.TRAIN, events.EVALUATE):
      if self.open:  # it was killed, some time before this
        self.seconds += max(0.0, self._last - self.began)
      self.stage, self.open, self.began = kind, True, when
      self.process = event.get("process")
      self.queued = self.asked = False
      self.code = None
      self._words = event.get("words", [])
      self.hardware = event.get("hardware") or self.hardware
      if kind == events.TRAIN or not self.git_revision:
        # Of what trained it, which a later evaluation does not change.
        self.git_revision = event.get("git_revision") or self.git_revision
    elif kind == "stopping":
      self.asked = True
    elif kind in (f"{events.TRAIN} ended", f"{events.EVALUATE} ended"):
      self.open, self.code = False, event.get("code")
      self.seconds += max(0.0, when - self.began)
      if self.code == 0 and self.stage == events.TRAIN:
        self.trained = True
      if self.stage == events.EVALUATE:
        wanted = list(self._words) == self._evaluation
        self.evaluated = self.code == 0 and wanted
    self._last = when


def _name(
  found: _History, workdir: pathlib.Path, out: pathlib.Path
) -> tuple[str, str]:
  """Returns a state's name and what is to be said of it."""
  where = f"job {found.job}" if found.job else ""
  holding = holder.holds(workdir)
  if found.open and found.stage == events.EVALUATE:
    if _lives(found, workdir):
      return EVALUATING, where
    return STOPPED, "it was killed while it was evaluated"
  if holding is not None or (found.open and _lives(found, workdir)):
    stops = found.asked or _STOPS.search(_tail(_log(found, workdir, out), 1))
    ours = found.open and holding is not None
    note = where
    if not ours and holding is not None:
      note = f"by {holder.describe(holding)}"
    return (SAVING if stops and found.open else RUNNING), note
  if found.queued:
    return WAITING, where
  if found.open:
    return STOPPED, "it was killed"
  if found.evaluated and (workdir / "evaluation/evaluation.json").is_file():
    return DONE, ""
  if found.code is None:
    return WAITING, ""
  if found.code == 0:
    return WAITING, "for its evaluation"
  if found.code == errors.EXIT_PREEMPTED:
    return STOPPED, ""
  return FAILED, _why(found.code, found.stage, _log(found, workdir, out))


def _lives(found: _History, workdir: pathlib.Path) -> bool:
  """Whether the process that has not ended is still there."""
  if found.process:
    alive = holder.is_alive(found.process)
    if alive is not None:
      return alive
  return time.time() - max(found.began, _last_sign(workdir)) < _YOUNG_SECONDS


def _last_sign(workdir: pathlib.Path) -> float:
  """Returns when something of a point was last written."""
  times = [0.0]
  for name in (
    events.NAME,
    "log.txt",
    "metrics.jsonl",
    holder.NAME,
    "evaluation/measurements.jsonl",
  ):
    try:
      times.append((workdir / name).stat().st_mtime)
    except OSError:
      continue
  return max(times)


def _log(
  found: _History, workdir: pathlib.Path, out: pathlib.Path
) -> pathlib.Path:
  return out / found.log if found.log else workdir / "log.txt"


def _why(code: int, stage: str, log: pathlib.Path) -> str:
  """Returns the last line of a log that names an error, or its last line."""
  text = _tail(log, 1000)
  lines = [console.line(line) for line in text.splitlines() if line.strip()]
  named = [line for line in lines if re.search(r"\w*[Ee]rror: ", line)]
  last = (named or lines or [f"see {console.shown(log)}"])[-1]
  what = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
  return f"{stage}, {what}: {last}"


def _tail(log: pathlib.Path, lines: int) -> str:
  """Returns the last lines of a file, of its last kilobytes."""
  try:
    with open(log, "rb") as file:
      file.seek(0, 2)
      file.seek(max(0, file.tell() - _TAIL_BYTES))
      text = file.read().decode(errors="replace")
  except OSError:
    return ""
  return "\n".join(text.splitlines()[-lines:])


def _rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
  file = workdir / "metrics.jsonl"
  if not file.is_file():
    return []
  return [row for row in logs.read(file) if isinstance(row.get("step"), int)]
