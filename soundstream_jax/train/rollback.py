"""What a start does with what the last run left, before it reads anything.

    WORKDIR/rollback.json     the newest rollback
    WORKDIR/set_aside/        checkpoints that are no longer used

A rollback goes back to a checkpoint from before a run of bad steps and on with
other data. Its journal is written first; setting newer checkpoints aside,
restoring and counting can then all be done again, so a job that is killed
anywhere in between does the rest when it starts. The journal counts, so no
series of kills makes a run roll back more often than it may.
"""

import dataclasses
import json
import os
import pathlib

from absl import logging

from soundstream_jax.checkpoint import manager
from soundstream_jax.devices import distributed


@dataclasses.dataclass(frozen=True)
class Rollback:
  """Back to `target`, then on with batch `next_batch`."""

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
  before = [step for step in manager.steps(workdir) if step <= first_bad]
  last = read(workdir)
  if last is not None and len(before) > 1 and before[-1] == last.target:
    before.pop()
  return Rollback(
    target=before[-1] if before else 0,
    next_batch=next_batch,
    rollback_count=rollback_count + 1,
  )


def write(workdir: pathlib.Path, rollback: Rollback) -> None:
  """Writes the journal; from here on the rollback will happen."""
  temporary = workdir / "rollback.json.tmp"
  temporary.write_text(json.dumps(dataclasses.asdict(rollback)) + "\n")
  os.replace(temporary, workdir / "rollback.json")


def read(workdir: pathlib.Path) -> Rollback | None:
  """Returns the newest rollback, finished or not; None without one."""
  path = workdir / "rollback.json"
  return Rollback(**json.loads(path.read_text())) if path.is_file() else None


def prepare(workdir: pathlib.Path) -> None:
  """Leaves checkpoints that can be used, as the journal wants them.

  Every process calls this before it opens the checkpoints; process 0 works.
  """
  if distributed.is_primary():
    rollback = read(workdir)
    if rollback is not None and _unfinished(workdir, rollback):
      for step in manager.folders(workdir):
        if step > rollback.target:
          _set_aside(workdir, step, f"rollback{rollback.rollback_count}")
    for step in reversed(manager.folders(workdir)):
      reason = manager.damage(workdir, step)
      if reason is None:
        break
      logging.error(
        "the checkpoint of step %d is damaged: %s. It is set aside, the one "
        "before it is used.",
        step,
        reason,
      )
      _set_aside(workdir, step, "damaged")
  distributed.wait_for_all("workdir prepared")


def _unfinished(workdir: pathlib.Path, rollback: Rollback) -> bool:
  """True until a checkpoint has been saved after the rollback."""
  present = manager.steps(workdir)
  if not present:
    return True
  meta = manager.read_meta(workdir, present[-1])
  return meta["rollback_count"] < rollback.rollback_count


def _set_aside(workdir: pathlib.Path, step: int, why: str) -> None:
  """Moves a checkpoint out of the way, never over another one."""
  folder = workdir / "set_aside"
  folder.mkdir(exist_ok=True)
  name, number = f"{step}-{why}", 1
  while (folder / name).exists():
    number += 1
    name = f"{step}-{why}-{number}"
  os.rename(workdir / "checkpoints" / str(step), folder / name)
  logging.warning("set aside %s", folder / name)
