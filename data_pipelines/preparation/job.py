"""One preparation: its working folder, its plan, the shards still missing.

The working folder `.OUT.partial` lies beside --out, holds the plan, the
unpacked archives and the shards, and lasts until the dataset is complete, so
that the same command resumes where an earlier one was killed.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator

from absl import flags

from soundstream_jax import console, errors, paths
from soundstream_jax.data_pipelines import catalog, corpus
from soundstream_jax.data_pipelines.preparation import (
  dataset_files,
  disk,
  inputs,
  messages,
  records,
  shards,
)
from soundstream_jax.data_pipelines.preparation import plan as plan_lib


@dataclasses.dataclass(frozen=True)
class Job:
  """What is to be done.

  Attributes:
    folder: the working folder, held by this process.
    missing: numbers of the shards that are still to be built.
    dataset: as it is described.
  """

  out: pathlib.Path
  folder: pathlib.Path
  plan: plan_lib.Plan
  missing: list[int]
  dataset: corpus.Corpus

  @property
  def about(self) -> dict[str, str]:
    """What metadata and datasheet say of the dataset's origin."""
    names = ("title", "licence", "citation", "version", "homepage")
    return {name: getattr(self.dataset, name) for name in names}


@contextlib.contextmanager
def begin(
  values: flags.FlagValues, *, check: Callable[[], None] = lambda: None
) -> Iterator[Job]:
  """Makes the plan of the command's dataset, or resumes an unfinished one.

  Afterwards, what was done is kept for the same command if the work has ended
  on the way, and said so; a folder with nothing done is removed.

  Args:
    check: called now and then in long work; may raise to end it.

  Raises:
    InputError: a flag, a path or the audio behind it cannot be used, an
      unfinished dataset is of other flags or files, or another command is
      making it.
    DiskError: the disk cannot be written to.
  """
  described = catalog.load(values.dataset, values.kind, _own_flags(values))
  settings = _settings(values, described)
  percentages = records.parse_split(values.split)
  out = _check_out(values.out)
  if described.compute:
    found = inputs.Found(described.compute(percentages, values.sample_rate))
  else:
    found = inputs.look(values.input, described)
  folder = _working_folder(out)
  with contextlib.ExitStack() as stack:
    with dataset_files.writing(out):
      stack.enter_context(disk.locked(folder, out))
    _check_out(values.out)  # whoever held the folder may have made it
    stack.enter_context(_leaving(folder, out))
    with dataset_files.writing(out):
      files = inputs.files(found, described, folder, check=check)
      messages.warn_incomplete(described, files)
      plan = plan_lib.make(files, settings)
      done = _resume(folder, plan, out)
    missing = [n for n in range(len(plan.shards)) if n not in done]
    try:
      yield Job(out, folder, plan, missing, described)
    except (errors.InputError, errors.DiskError) as error:
      raise type(error)(f"{error} {_keep(folder, out)}".rstrip()) from None


def describe(values: flags.FlagValues) -> str:
  """Returns what there is to say of the dataset, of each of its kinds.

  Raises:
    InputError: a kind that it does not have.
  """
  own = _own_flags(values)
  if values.kind is None:
    found = catalog.load_all(values.dataset, None, own)
  else:
    found = [catalog.load(values.dataset, values.kind, own)]
  return "\n\n".join(map(messages.describe, found))


def is_computed(values: flags.FlagValues) -> bool:
  """True for a dataset that has no input.

  Raises:
    InputError: as `describe`.
  """
  found = catalog.load_all(values.dataset, values.kind, _own_flags(values))
  return any(dataset.compute for dataset in found)


def _own_flags(values: flags.FlagValues) -> dict[str, str | int | float]:
  """Returns the values of the flags that only this dataset reads."""
  return {name: values[name].value for name in catalog.flags_of(values.dataset)}


def _settings(
  values: flags.FlagValues, described: corpus.Corpus
) -> dict[str, str | int | float]:
  """Returns the flags that shape the records."""
  return {
    "dataset": values.dataset,
    "kind": described.kind,
    "sample_rate": values.sample_rate,
    "split": values.split,
    **_own_flags(values),
  }


def _check_out(out: str) -> pathlib.Path:
  """Returns the folder to be made.

  Raises:
    InputError: no name, something is there already, or it cannot be made.
  """
  if not out:
    raise errors.InputError("--out is missing: the folder to be made.")
  name, named = f"--out={out}", pathlib.Path(out)
  paths.check_writable_folder(
    name, named if named.is_symlink() else named.parent
  )
  folder = pathlib.Path(os.path.realpath(out))  # a link is followed
  # The working folder lies beside it.
  paths.check_writable_folder(name, folder.parent)
  paths.check_text(name, folder)
  if (folder / dataset_files.INFO_FILE).exists():
    _remove_leftovers(_working_folder(folder))
    raise errors.InputError(
      f"--out={out} already holds a dataset. Use another folder, or remove "
      "this one first."
    )
  if folder.is_dir() and any(folder.iterdir()):
    raise errors.InputError(
      f"--out={out} holds other files. Use a folder that is new or empty."
    )
  if folder.exists() and not folder.is_dir():
    raise errors.InputError(
      f"--out={out} is a file. Use a folder that is new or empty."
    )
  return folder


def _working_folder(out: pathlib.Path) -> pathlib.Path:
  return out.parent / f".{out.name}.partial"


def _remove_leftovers(folder: pathlib.Path) -> None:
  """Removes the working folder of a command that was killed as it did so."""
  finished = folder.exists() and not (folder / shards.FINISHING).exists()
  if finished and not any((folder / shards.FOLDER).glob("*.array_record")):
    shutil.rmtree(folder, ignore_errors=True)


def _resume(
  folder: pathlib.Path, plan: plan_lib.Plan, out: pathlib.Path
) -> dict[int, shards.Result]:
  """Saves the plan; returns the shards of an earlier run with the same one.

  Raises:
    InputError: an earlier run had another plan, and has done some of it.
  """
  before = plan_lib.load(folder)
  done = shards.complete(folder, before) if before else {}
  if done:
    different = plan_lib.difference(before, plan)
    if different:
      raise errors.InputError(
        f"--out={out}: an unfinished dataset is there, and {different}. Repeat "
        f"the first command to finish it, or remove {folder}."
      )
    disk.remove_unfinished(folder / shards.FOLDER)
    print(
      f"going on: {len(done)} of {len(plan.shards)} shards are there",
      file=sys.stderr,
    )
  else:
    for name in (shards.FOLDER, shards.FINISHING):
      shutil.rmtree(folder / name, ignore_errors=True)
  plan_lib.save(folder, plan)  # again, as files may lie elsewhere by now
  return done


@contextlib.contextmanager
def _leaving(folder: pathlib.Path, out: pathlib.Path) -> Iterator[None]:
  """Where the work ends on the way, keeps what is done, if anything is."""
  try:
    yield
  except (KeyboardInterrupt, SystemExit):
    kept = _keep(folder, out) or "Nothing is written yet."
    print(f"interrupted. {console.shown(kept)}", file=sys.stderr)
    raise
  except BaseException:
    _keep(folder, out)
    raise


def _keep(folder: pathlib.Path, out: pathlib.Path) -> str:
  """Says what is done; removes the folder if it holds nothing of use."""
  if (out / dataset_files.INFO_FILE).exists():
    shutil.rmtree(folder, ignore_errors=True)
    return f"{out} is complete."
  plan = plan_lib.load(folder)
  done = shards.complete(folder, plan) if plan else {}
  if done:
    return (
      f"The same command resumes: {len(done)} of {len(plan.shards)} shards are "
      "there."
    )
  if inputs.unpacked(folder):
    return "The same command resumes: archives are unpacked."
  shutil.rmtree(folder, ignore_errors=True)
  return ""
