"""Checksums of a finished folder, so that damage is found before it is used.

`sums.sha256` lists every other file of the folder in the format of sha256sum:
`sha256sum --check sums.sha256` inside the folder says the same as `damage`.
"""

import hashlib
import pathlib
import threading
from collections.abc import Collection

from absl import logging

from soundstream_jax import errors, whole_files

SUMS = "sums.sha256"

# Between two looks at a folder that is being saved.
_LOOK_SECONDS = 0.02


def write(folder: pathlib.Path) -> None:
  """Writes the sums of a folder that no longer changes, whole or not at all."""
  lines = [
    f"{_sum(path)}  {path.relative_to(folder).as_posix()}\n"
    for path in sorted(folder.rglob("*"))
    if path.is_file() and path.name != SUMS
  ]
  with whole_files.replacing(folder / SUMS) as partial:
    partial.write_text("".join(lines))


def seal(folder: pathlib.Path, ended: threading.Event) -> None:
  """Sums a checkpoint up as soon as its folder has its final name.

  Runs beside training: Orbax renames a folder once everything is in it, and
  tells nobody. Sums that cannot be written are a warning: the checkpoint is
  whole without them.

  Args:
    folder: that gets the name, unless the save fails.
    ended: is set once the save has ended, well or not.
  """
  try:
    while not folder.is_dir():
      if ended.wait(_LOOK_SECONDS) and not folder.is_dir():
        return
    write(folder)
  except OSError as error:
    if isinstance(error, FileNotFoundError) and not folder.exists():
      return  # pruned meanwhile
    logging.warning(
      "checksums of step %s could not be written to %s (%s; %s); damage of it "
      "would not be noticed.",
      folder.name,
      folder,
      error.strerror or error,
      errors.space(folder),
    )
  logging.info("step %s is on disk", folder.name)


def damage(
  folder: pathlib.Path, *, items: Collection[str] | None = None
) -> str | None:
  """Returns what is wrong with a folder, or None.

  A folder without sums passes: a job can die between finishing it and summing
  it up.

  Args:
    folder: that `write` was called for.
    items: names of subfolders; None checks all files.
  """
  sums = folder / SUMS
  if not sums.is_file():
    return None
  for line in sums.read_text().splitlines():
    expected, _, name = line.partition("  ")
    if items is not None and name.split("/")[0] not in items:
      continue
    try:
      found = _sum(folder / name)
    except OSError as error:
      return f"{name} cannot be read ({error.strerror})"
    if found != expected:
      return f"{name} has changed since it was written"
  return None


def _sum(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
