"""Writes files that are whole or not there; lets one process into a folder."""

import contextlib
import pathlib
from collections.abc import Iterator

from soundstream_jax import folder_lock, whole_files


def write(path: pathlib.Path, data: bytes) -> None:
  """Writes a file; it appears under its name when it is safe on the disk.

  Raises:
    OSError: the disk cannot be written to.
  """
  with whole_files.replacing(path) as partial:
    partial.write_bytes(data)


def remove_unfinished(folder: pathlib.Path) -> None:
  """Removes what killed processes left in the folder."""
  for path in folder.glob(f".*{whole_files.SUFFIX}"):
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: pathlib.Path, out: pathlib.Path) -> Iterator[None]:
  """Holds the folder for this process, also if it is killed and not longer.

  Raises:
    InputError: another process holds it; with its host and number.
    OSError: the folder cannot be made or written to.
  """
  what = f"--out={out}: another command is making this dataset"
  with folder_lock.held(folder / "lock", what=what):
    yield
