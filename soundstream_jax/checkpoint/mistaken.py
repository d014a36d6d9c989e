"""Mistaken folders: what one is that holds no checkpoint, and what was meant."""

import itertools
import os
import pathlib

from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib

# What tells a folder of ours that is no run: a file in it -> what it is.
_OURS = {
  "dataset_info.json": "a prepared dataset, not a run",
  "evaluation.json": "an evaluation, not the run that it measured",
  "model.json": "an exported model, not the run that made it",
}
_FIX = "Give the workdir of a training run that has saved one."
# Runs that are named, and folders that are looked into for them.
_MOST_NAMED, _MOST_SEEN = 5, 1_000


def error(path: str | os.PathLike, *, field: str = "") -> errors.InputError:
  """Returns the line for a folder that was to be a run with a checkpoint.

  Args:
    path: as it was typed.
    field: before it, as in "init_from=".
  """
  return errors.InputError(
    f"{field}{path} holds no checkpoint: {_reason(pathlib.Path(path))}"
  )


def _reason(path: pathlib.Path) -> str:
  """Says what is there instead, and what to name."""
  try:
    if not path.exists():
      return f"there is no such folder.{_alike(path)} {_FIX}"
    if not path.is_dir():
      return f"it is a file. {_FIX}"
    for run in path.absolute().parents[:2]:
      if folder_lib.steps(run):
        return f"it is a part of the run {run}. Name that folder."
    for file, what in _OURS.items():
      if (path / file).is_file():
        return f"it is {what}. {_FIX}"
    if (path / "config.json").is_file():
      return (
        "its run has saved none yet. Wait until a step of "
        "checkpoint.every_steps, or start it again if it has ended."
      )
    if below := _runs_below(path):
      return f"runs are in it: {below}. Name one of them."
    what = "no run is in it" if any(path.iterdir()) else "it is empty"
    return f"{what}. {_FIX}"
  except OSError as problem:
    return f"it cannot be looked into ({problem.strerror}). {_FIX}"


def _alike(path: pathlib.Path) -> str:
  """Names a folder that is there and whose name is alike, or ''."""
  beside = path.absolute().parent
  if not beside.is_dir():
    return f" There is no {beside} either."
  names = [entry.name for entry in beside.iterdir() if entry.is_dir()]
  return errors.nearest(path.name, names)


def _runs_below(path: pathlib.Path) -> str:
  """Names runs with checkpoints in a folder, or one level further down."""
  found = []
  places = itertools.chain(
    path.glob("*/checkpoints"), path.glob("*/*/checkpoints")
  )
  for place in itertools.islice(places, _MOST_SEEN):
    if folder_lib.steps(place.parent):
      found.append(str(place.parent))
  found.sort()
  more = ", ..." if len(found) > _MOST_NAMED else ""
  return ", ".join(found[:_MOST_NAMED]) + more
