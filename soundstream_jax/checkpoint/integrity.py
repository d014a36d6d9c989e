"""Checksums of a finished folder, so that damage is found before it is used.

`sums.sha256` lists every other file of the folder in the format of sha256sum:
`sha256sum --check sums.sha256` inside the folder says the same as `damage`.
"""

import hashlib
import pathlib
import time
from collections.abc import Collection

from absl import logging

from soundstream_jax import whole_files

SUMS = "sums.sha256"

# Longer than any save takes; then something else has gone wrong.
SEAL_SECONDS = 3600


def write(folder: pathlib.Path) -> None:
  """Writes the sums of a folder that no longer changes, whole or not at all."""
  lines = [
    f"{_sum(path)}  {path.relative_to(folder).as_posix()}\n"
    for path in sorted(folder.rglob("*"))
    if path.is_file() and path.name != SUMS
  ]
  whole_files.write(folder / SUMS, "".join(lines))


def seal(folder: pathlib.Path) -> None:
  """Sums a checkpoint up as soon as its folder has its final name.

  Runs beside training: Orbax renames a folder once everything is in it, and
  tells nobody.
  """
  deadline = time.monotonic() + SEAL_SECONDS
  while not folder.is_dir():
    if time.monotonic() > deadline:
      return
    time.sleep(0.02)
  write(folder)
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
