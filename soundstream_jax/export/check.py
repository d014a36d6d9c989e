"""Checks a folder that an export wrote: unchanged, and as exact as it was."""

import dataclasses
import os
import pathlib

from soundstream_jax import errors
from soundstream_jax.export import folder as folder_lib
from soundstream_jax.export import formats, golden, manifest, parity


@dataclasses.dataclass(frozen=True)
class Checked:
  """What a check found.

  Attributes:
    folder: that was checked.
    changes: a line for each file or tensor that is not as it was written.
    rows: of the runtimes that are installed.
    absent: packages of runtimes that are not.
  """

  folder: pathlib.Path
  name: str
  changes: tuple[str, ...]
  rows: tuple[parity.Row, ...]
  absent: tuple[str, ...]

  @property
  def passes(self) -> bool:
    return not self.changes and all(row.passes for row in self.rows)


def folders(folder: str | os.PathLike) -> list[pathlib.Path]:
  """Returns a folder that an export wrote, or those of formats below it.

  Raises:
    InputError: there is none.
  """
  folder = pathlib.Path(folder)
  with errors.reading(f"--check={folder}"):
    if (folder / manifest.NAME).is_file():
      return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [path for path in below if (path / manifest.NAME).is_file()]
  if not found:
    raise errors.InputError(
      f"--check={folder}: neither it nor a folder in it has {manifest.NAME}, "
      "which `soundstream export` writes. Name such a folder."
    )
  return found


def check(folder: pathlib.Path) -> Checked:
  """Compares files with their list, and runtimes with golden values.

  Raises:
    InputError: its list is missing, damaged or of another version, or names a
      format that this version does not know.
  """
  content = manifest.read(folder)
  name = content["format"]
  if name not in formats.FORMATS:
    raise errors.InputError(
      f"{folder / manifest.NAME} names the format {name!r}, which this version "
      "does not know. A newer soundstream_jax may."
    )
  written = formats.FORMATS[name]
  changes = manifest.changes(folder, content, written)
  rows = []
  if not changes:
    rows = folder_lib.rows_of(folder, written, golden.read(folder))
  return Checked(
    folder=folder,
    name=name,
    changes=tuple(changes),
    rows=tuple(rows),
    absent=tuple(formats.missing_packages(list(written.runtimes))),
  )
