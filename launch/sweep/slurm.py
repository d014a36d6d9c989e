"""Points as one array job of SLURM, by the project's own batch script.

    OUT/slurm/N.points   what each task runs, as bash reads it
    OUT/slurm/N.sbatch   the script, for a launch after N - 1 others
    OUT/slurm/*.log      of each task

A task that is preempted saves, is requeued by itself and resumes.
"""

import os
import pathlib
import re
import shlex
import shutil
import sys
from collections.abc import Sequence

from soundstream_jax import console, errors, whole_files
from soundstream_jax.launch import slurm as slurm_lib
from soundstream_jax.launch.sweep import events, program
from soundstream_jax.launch.sweep import plan as plan_lib

FOLDER = "slurm"


def check(plan: plan_lib.Plan) -> None:
  """Refuses what SLURM, or the tasks that it starts, would refuse.

  Raises:
    InputError: with the flag.
  """
  options = slurm_lib.options()
  for each in plan.points:
    slurm_lib.check_devices(each.point.config, options)


def script(
  plan: plan_lib.Plan,
  chosen: Sequence[plan_lib.Planned],
  *,
  at_once: int | None,
  points: pathlib.Path,
) -> tuple[str, str]:
  """Returns the batch script, and the file of what its tasks run.

  Args:
    plan: of the sweep.
    chosen: points, one a task.
    at_once: tasks that may run together; None: all.
    points: where that file is going to be.
  """
  most = f"%{at_once}" if at_once else ""
  options = slurm_lib.options() | {
    "array": f"0-{len(chosen) - 1}{most}",
    "output": "%x-%A_%a.log",
  }
  text = slurm_lib.render(
    [],
    options=options,
    python=sys.executable,
    restarts=slurm_lib.restarts(),
    points=points,
  )
  return text, _points(plan, chosen)


def launch(
  plan: plan_lib.Plan,
  chosen: Sequence[plan_lib.Planned],
  *,
  at_once: int | None,
) -> str:
  """Submits points; returns what SLURM answers.

  Raises:
    InputError: there is no SLURM here, or it refuses the job.
  """
  folder = plan.out / FOLDER
  with errors.writing("the batch script", folder):
    folder.mkdir(parents=True, exist_ok=True)
  number = 1 + max(
    (int(p.stem) for p in folder.glob("*.sbatch") if p.stem.isdecimal()),
    default=0,
  )
  points = folder / f"{number}.points"
  text, tasks = script(plan, chosen, at_once=at_once, points=points)
  for each in chosen:
    with errors.writing("a point's folder", each.workdir):
      each.workdir.mkdir(parents=True, exist_ok=True)
  whole_files.write(points, tasks)
  path = folder / f"{number}.sbatch"
  slurm_lib.write(path, text)
  answer = slurm_lib.submit(path, folder=folder)
  job = re.search(r"job (\d+)", answer)
  if job is None:
    raise errors.InputError(f"sbatch does not name a job: {answer.strip()}")
  for task, each in enumerate(chosen):
    name = f"{job[1]}_{task}"
    events.append(
      each.workdir,
      "submitted",
      job=name,
      log=f"{FOLDER}/{slurm_lib.name()}-{name}.log",
    )
  return answer.strip()


def queued() -> set[str]:
  """Returns the tasks that SLURM has, waiting or running, as in '12_3'.

  Raises:
    InputError: it does not answer.
  """
  if shutil.which("squeue") is None:
    return set()
  queued = program.answer(
    ["squeue", "--noheader", "--array", "--format=%i"],
    refused="squeue fails, and what is queued is not known",
  )
  return set(queued.split())


def _points(plan: plan_lib.Plan, chosen: Sequence[plan_lib.Planned]) -> str:
  """Returns a script that sets what slurm.sbatch asks for, for each task."""
  # Datasets may be named as they are seen from where the sweep was started.
  lines = [
    f"cd {_quoted([os.getcwd()])} || exit",
    "case $SLURM_ARRAY_TASK_ID in",
  ]
  for task, each in enumerate(chosen):
    after = (
      *("-m", "soundstream_jax.launch.sweep.point", "--trained"),
      f"--evaluate={shlex.join(plan.evaluation)}",
      *("--", f"--workdir={each.workdir}"),
    )
    lines += [
      f"  {task})  # {each.name}",
      f"    set -- {_quoted(each.training)}",
      f"    then=({_quoted(after)})",
      f"    events={_quoted([str(each.workdir / events.NAME)])}",
      "    ;;",
    ]
  return "\n".join([*lines, "esac", ""])


def _quoted(words: Sequence[str]) -> str:
  return " ".join(map(console.quoted, words))
