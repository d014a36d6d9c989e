"""Rollbacks: training returns to a checkpoint from before bad steps.

    WORKDIR/rollback.json     the newest rollback
    WORKDIR/set_aside/        checkpoints that are no longer used

After a rollback training continues from the checkpoint with other data. The
journal is written first; setting newer checkpoints aside, restoring and counting
can then all be done again, so a job that is killed anywhere in between does the
rest when it starts. The journal counts, so no series of kills makes a run roll
back more often than it may.
"""

import dataclasses
import json
import os
import pathlib

from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors, whole_files
from soundstream_jax.checkpoint import folder
from soundstream_jax.devices import distributed


@dataclasses.dataclass(frozen=True)
class BadSteps:
  """Too many bad steps in a row."""

  step: int  # the last of them
  count: int
  term: str  # the first that was not finite; of bad_steps.CHECKED


@dataclasses.dataclass(frozen=True)
class Rollback:
  """Training continues from `target` with batch `next_batch`."""

  target: int  # step; 0 without a checkpoint is a new beginning
  next_batch: int  # index of the first batch that was never taken
  rollback_count: int  # of this rollback, from 1


def plan(
  workdir: pathlib.Path,
  *,
  first_bad: int,
  next_batch: int,
  rollback_count: int,
) -> Rollback:
  """Chooses where to go back to.

  The newest checkpoint from before the bad steps; where the last rollback went
  to that one too, the one before it, if there is one: its own parameters may be
  what leads to bad steps.

  Args:
    workdir: of the run.
    first_bad: number of steps that were finished before the bad ones.
    next_batch: index of the batch that would have come next.
    rollback_count: rollbacks so far.
  """
  before = [step for step in folder.steps(workdir) if step <= first_bad]
  last = read(workdir)
  if last is not None and len(before) > 1 and before[-1] == last.target:
    before.pop()
  return Rollback(
    target=before[-1] if before else 0,
    next_batch=next_batch,
    rollback_count=rollback_count + 1,
  )


def is_allowed(
  config: config_lib.Config, bad: BadSteps, *, rollback_count: int
) -> bool:
  """Whether a run may roll back once more; the log says why not.

  Args:
    config: with the most rollbacks that there may be.
    bad: why it would.
    rollback_count: rollbacks so far.
  """
  if rollback_count < config.max_rollbacks:
    return True
  logging.error(
    "stopping: %d bad steps in a row; the first bad term is %s. Rolled back "
    "%d times, max_rollbacks=%d. The state before them is saved.",
    bad.count,
    bad.term,
    rollback_count,
    config.max_rollbacks,
  )
  return False


def begin(
  config: config_lib.Config,
  workdir: pathlib.Path,
  bad: BadSteps,
  *,
  next_batch: int,
  rollback_count: int,
) -> None:
  """Writes the journal of a rollback; the next start does the rest.

  Every process calls this, once its checkpoints are on disk.

  Args:
    config: of the run.
    workdir: of the run.
    bad: why.
    next_batch: index of the batch that would have come next.
    rollback_count: rollbacks so far.
  """
  if distributed.is_primary():
    rollback = plan(
      workdir,
      first_bad=bad.step - bad.count,
      next_batch=next_batch,
      rollback_count=rollback_count,
    )
    write(workdir, rollback)
    logging.error(
      "rolling back (%d of %d): %d bad steps in a row from step %d on; the "
      "first bad term is %s. Back to step %d, on with batch %d.",
      rollback.rollback_count,
      config.max_rollbacks,
      bad.count,
      bad.step - bad.count + 1,
      bad.term,
      rollback.target,
      next_batch,
    )
  distributed.wait_for_all("rollback written")


def write(workdir: pathlib.Path, rollback: Rollback) -> None:
  """Writes the journal; from here on the rollback will happen."""
  text = json.dumps(dataclasses.asdict(rollback)) + "\n"
  whole_files.write(workdir / "rollback.json", text)


def read(workdir: pathlib.Path) -> Rollback | None:
  """Returns the newest rollback, finished or not; None without one."""
  path = workdir / "rollback.json"
  return Rollback(**json.loads(path.read_text())) if path.is_file() else None


def prepare(workdir: pathlib.Path) -> None:
  """Leaves checkpoints that can be used, and that the journal allows.

  Process 0 calls this before any process opens the checkpoints.
  """
  rollback = read(workdir)
  if rollback is not None and _unfinished(workdir, rollback):
    for step in folder.steps_on_disk(workdir):
      if step > rollback.target:
        _set_aside(workdir, step, f"rollback{rollback.rollback_count}")
  for step in reversed(folder.steps_on_disk(workdir)):
    reason = folder.damage(workdir, step)
    if reason is None:
      break
    logging.error(
      "the checkpoint of step %d is damaged: %s. It is set aside, the one "
      "before it is used.",
      step,
      reason,
    )
    _set_aside(workdir, step, "damaged")


def _unfinished(workdir: pathlib.Path, rollback: Rollback) -> bool:
  """True until a checkpoint has been saved after the rollback."""
  present = folder.steps(workdir)
  if not present:
    return True
  meta = folder.read_meta(workdir, present[-1])
  return meta["rollback_count"] < rollback.rollback_count


def _set_aside(workdir: pathlib.Path, step: int, why: str) -> None:
  """Moves a checkpoint out of the way, never over another one."""
  aside = workdir / "set_aside"
  name, number = f"{step}-{why}", 1
  with errors.writing(f"set_aside/{name}", workdir):
    aside.mkdir(exist_ok=True)
    while (aside / name).exists():
      number += 1
      name = f"{step}-{why}-{number}"
    os.rename(folder.of_step(workdir, step), aside / name)
  logging.warning("set aside %s", aside / name)
