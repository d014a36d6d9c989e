"""One fault from beginning to end: the job, the moment, the verdict."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time

from benchmarks.faults import (
  background_job,
  cases,
  disks,
  ground,
  leftovers,
  log,
  saved_arrays,
)
from soundstream_jax import errors

# The most work that a fault may cost.
LOST_SECONDS = 60
# For how long a process stands still, where it goes on.
STILL_SECONDS = 4
# Where the undisturbed run does not say how long a phase takes.
_SHORT_SECONDS = {"restore": 0.3, "step": 0.05}


@dataclasses.dataclass(frozen=True)
class Result:
  """What came of a fault.

  Attributes:
    name: of the fault.
    outcome: 'recovered', 'stopped' or 'refused', after which the same command
      finished the run, or 'FAILED'.
    problems: why it failed.
    moment: that was hit.
    codes: exit codes of the job, and of the same command again.
    lost_seconds: of computed steps that were computed again.
    on_seconds: until the job went on, or ended.
    equal: whether the end has every bit of the undisturbed run's.
    named: the line that names the culprit.
    attempts: of the launcher.
    seconds: in all.
  """

  name: str
  outcome: str
  problems: list[str]
  moment: str = ""
  codes: list[int | None] = dataclasses.field(default_factory=list)
  lost_seconds: float | None = None
  on_seconds: float | None = None
  equal: bool | None = None
  named: str | None = None
  attempts: int = 0
  seconds: float = 0.0


@dataclasses.dataclass
class _Job:
  """A job that has ended, or was ended."""

  code: int | None  # None: it hung
  lines: list[str]
  times: list[float]
  ended: float  # seconds since the epoch
  left: int = 0  # processes that it left


class _Trial:
  """A fault that happens."""

  def __init__(self, the_ground: ground.Ground, fault: cases.Fault, seed: int):
    self._ground, self._fault = the_ground, fault
    name = re.sub(r"[^a-z0-9]+", "-", fault.name.lower())
    self._folder = the_ground.folder / "faults" / name
    self._workdir = self._folder / "run"
    self._undisturbed = the_ground.undisturbed(fault.processes)
    chance = random.Random(f"{seed}/{fault.name}")
    self._victim = chance.randrange(fault.processes)
    if fault.action == "older content":
      self._victim = fault.processes - 1  # not the one that writes
    self._injected = self._draw(chance)
    # Undisturbed, it is over long before.
    self._limit = 40 + 6 * self._undisturbed.seconds + fault.seconds
    self._second = None  # the second copy
    self._problems = []

  def run(self) -> Result:
    began = time.monotonic()
    shutil.rmtree(self._folder, ignore_errors=True)
    self._folder.mkdir(parents=True)
    if self._fault.disk.startswith("read-only") and not disks.can_mount():
      return Result(
        self._fault.name,
        "FAILED",
        ["this user may not mount, so no disk can be made read-only"],
      )
    with contextlib.ExitStack() as stack:
      self._set_up(stack)
      with contextlib.ExitStack() as wrong:
        first = self._job(self._injected, wrong)
      jobs = [first]
      if first.code in self._fault.codes - {0}:
        jobs.append(self._job(None, stack))
      result = self._judge(jobs)
    for number, job in enumerate(jobs):
      (self._folder / f"log-{number}").write_text("".join(job.lines))
    if not result.problems:
      shutil.rmtree(self._workdir, ignore_errors=True)
    return dataclasses.replace(result, seconds=time.monotonic() - began)

  def _draw(self, chance: random.Random) -> dict:
    """Chooses the moment."""
    fault = self._fault
    saves = 2 if fault.steps else 3
    last = (12 if fault.steps else 20) if fault.phase == "step" else 1
    count = fault.count or {
      "step": chance.randint(2, last + 1),
      "save": chance.randint(1, saves),
      "evaluation": chance.randint(1, saves),
      "read": chance.randint(16, 40),
    }.get(fault.phase, 1)
    length = self._undisturbed.lengths.get((fault.phase, count))
    if length is None:
      length = _SHORT_SECONDS.get(fault.phase, 0.1)
    action = fault.action
    if fault.disk == "full" and not disks.can_mount():
      action = "limit files"
    return self._ground.injected(
      fault,
      self._folder,
      processes=[] if fault.phase == cases.BEFORE else [self._victim],
      count=count,
      delay=None if fault.sync else chance.random() * length,
      action=action,
      hidden=[str(self._checkpoint(step)) for step in fault.steps[-1:]],
    )

  def _checkpoint(self, step: int) -> pathlib.Path:
    return self._workdir / "checkpoints" / str(step)

  def _set_up(self, stack: contextlib.ExitStack) -> None:
    """Makes the workdir as the job finds it."""
    fault, workdir = self._fault, self._workdir
    if fault.disk and "logs" not in fault.disk and disks.can_mount():
      stack.enter_context(disks.small(workdir))
    workdir.mkdir(exist_ok=True)
    if fault.steps:
      done = self._undisturbed.workdir
      shutil.copy(done / "config.json", workdir)
      for step in fault.steps:
        shutil.copytree(
          done / "checkpoints" / str(step), self._checkpoint(step)
        )
    for step in fault.damaged:
      _flip_a_byte(self._checkpoint(step) / "params")
    if "logs" in fault.disk:
      logs = self._folder / "logs"
      if disks.can_mount():
        stack.enter_context(disks.small(logs, megabytes=4))
      logs.mkdir(exist_ok=True)
      (logs / "tensorboard").mkdir()
      (logs / "metrics.jsonl").touch()
      for name in ("tensorboard", "metrics.jsonl"):
        (workdir / name).symlink_to(logs / name)

  def _job(self, injected: dict | None, wrong: contextlib.ExitStack) -> _Job:
    """Runs the job; what went wrong stays so until `wrong` is closed."""
    fault, hit = self._fault, self._folder / f"hit-{self._victim}"
    if injected is not None and fault.phase == cases.BEFORE:
      self._act(wrong)
      hit.write_text(json.dumps({"time": time.time()}))
    acted = injected is None or fault.phase == cases.BEFORE
    deadline = time.monotonic() + self._limit
    with self._ground.job(fault, self._workdir, self._folder, injected) as job:
      while job.running() and time.monotonic() < deadline:
        if not acted and hit.exists():
          acted = True
          self._act(wrong, job)
          (self._folder / "done").touch()
        time.sleep(0.02)
      hung, ended = job.running(), time.time()
      code = None if hung else job.end()
      left = leftovers.kill(self._folder, patience=0 if hung else 3)
    return _Job(code, job.lines, job.times, ended, 0 if hung else left)

  def _act(self, wrong: contextlib.ExitStack, job=None) -> None:
    """Does what only somebody outside of the processes can do."""
    fault = self._fault
    where = self._folder / "logs" if "logs" in fault.disk else self._workdir
    if fault.disk.startswith("full"):
      if disks.can_mount():
        wrong.callback(disks.free, where)
        disks.fill(where)
      elif "logs" in fault.disk:
        (self._workdir / "metrics.jsonl").unlink()
        (self._workdir / "metrics.jsonl").symlink_to("/dev/full")
    elif fault.disk.startswith("read-only"):
      wrong.enter_context(disks.read_only(where))
    elif fault.outside == "SIGCONT":
      time.sleep(STILL_SECONDS)
      os.kill(self._hit()["pid"], signal.SIGCONT)
    elif fault.outside == "copy":
      self._second = self._copy(job)

  def _copy(self, first: background_job.Job) -> _Job:
    """Starts the same job once more, beside the first."""
    folder = self._folder / "copy"
    folder.mkdir()
    with self._ground.job(self._fault, self._workdir, folder, None) as job:
      try:
        code = job.end(seconds=self._fault.seconds)
      except subprocess.TimeoutExpired:
        code = None
    pids = "|".join(map(str, first.pids()))
    pattern = self._pattern().replace("{pid}", f"({pids})")
    if code != errors.EXIT_BAD_INPUT:
      self._problems.append(f"the second copy ended with exit code {code}")
    if log.traceback(job.lines):
      self._problems.append("the second copy printed a traceback")
    found = log.naming(job.lines, pattern)
    return _Job(code, [found] if found else [], [], time.time())

  def _hit(self) -> dict | None:
    path = self._folder / f"hit-{self._victim}"
    return json.loads(path.read_text()) if path.exists() else None

  def _pattern(self) -> str:
    return (
      (self._fault.named or "")
      .replace("{victim}", str(self._victim))
      .replace("{damaged}", str(next(iter(self._fault.damaged), "")))
      .replace("{host}", re.escape(socket.gethostname()))
    )

  def _judge(self, jobs: list[_Job]) -> Result:
    fault, first, problems = self._fault, jobs[0], self._problems
    hit = self._hit()
    if hit is None:
      problems.append("the moment was never reached")
    if first.code is None:
      problems.append(f"hung: ended after {self._limit:.0f} s")
    elif first.code not in fault.codes:
      expected = " or ".join(map(str, sorted(fault.codes)))
      problems.append(
        f"exit code {first.code}, expected {expected}: "
        f"{log.last_words(first.lines)}"
      )
    if any(job.left for job in jobs):
      problems.append(f"left {sum(job.left for job in jobs)} processes")
    if first.code not in (0, None) and log.traceback(first.lines):
      problems.append("a traceback")
    named = None
    if not fault.named and log.attempts(first.lines) > 1:
      problems.append(f"it started again: {log.last_words(first.lines)}")
    if fault.named:
      lines = self._second.lines if self._second else first.lines
      pattern = "" if self._second else self._pattern()
      named = log.naming(lines, pattern)
      if named is None:
        problems.append("nobody names the culprit")
    if jobs[1:] and jobs[-1].code != 0:
      ended = "hung" if jobs[-1].code is None else f"ended {jobs[-1].code}"
      problems.append(
        f"the same command again {ended}: {log.last_words(jobs[-1].lines)}"
      )
    equal = None
    if jobs[-1].code == 0:
      different = self._difference()
      equal = different is None
      if different is not None:
        problems.append(f"another end: {different}")
    lost = log.lost_seconds(
      [(job.lines, job.times) for job in jobs],
      {
        step: seconds
        for step, seconds in self._undisturbed.steps.items()
        if fault.steps and step <= fault.steps[-1]
      },
    )
    if lost > LOST_SECONDS:
      problems.append(f"lost {lost:.0f} s of work")
    came_through = "recovered"
    if jobs[1:]:
      stopped = first.code == errors.EXIT_PREEMPTED
      came_through = "stopped" if stopped else "refused"
    return Result(
      fault.name,
      "FAILED" if problems else came_through,
      problems,
      moment=self._moment(hit),
      codes=[job.code for job in jobs],
      lost_seconds=round(lost, 2),
      on_seconds=self._on(first, hit),
      equal=equal,
      named=named,
      attempts=sum(log.attempts(job.lines) for job in jobs),
    )

  def _difference(self) -> str | None:
    try:
      arrays = saved_arrays.read(self._workdir, ground.LAST_STEP)
    except (OSError, ValueError, KeyError) as error:
      return f"no readable checkpoint of the last step ({error})"
    return saved_arrays.difference(self._undisturbed.arrays, arrays)

  def _moment(self, hit: dict | None) -> str:
    if self._fault.phase == cases.BEFORE:
      return "before"
    if hit is None:
      return "never"
    return (
      f"{hit['phase']} {hit['count']}, +{hit['seconds']} s, step {hit['step']}"
    )

  def _on(self, first: _Job, hit: dict | None) -> float | None:
    if hit is None:
      return None
    on = None
    if first.code == 0:
      on = log.on_after(first.lines, first.times, hit["time"])
    return round((on or first.ended) - hit["time"], 1)


def run(the_ground: ground.Ground, fault: cases.Fault, *, seed: int) -> Result:
  """Lets a fault happen; never raises because of what the job does."""
  return _Trial(the_ground, fault, seed).run()


def _flip_a_byte(folder: pathlib.Path) -> None:
  """In the middle of the largest file."""
  files = (path for path in folder.rglob("*") if path.is_file())
  path = max(files, key=lambda path: path.stat().st_size)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
