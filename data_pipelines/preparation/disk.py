"""Writes files that are whole or not there; lets one process into a folder."""

import contextlib
import fcntl
import os
import pathlib
import uuid
from collections.abc import Iterator

from soundstream_jax import errors

UNFINISHED = ".tmp"


def write(path: pathlib.Path, data: bytes) -> None:
  """Writes a file; it appears under its name when it is safe on the disk."""
  partial = unfinished(path)
  with open(partial, "wb") as file:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
  os.replace(partial, path)


def unfinished(path: pathlib.Path) -> pathlib.Path:
  """Returns a name beside the file's that no other process uses."""
  return path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")


def remove_unfinished(folder: pathlib.Path) -> None:
  """Removes what killed processes left in the folder."""
  for path in folder.glob(f"*{UNFINISHED}"):
    path.unlink()


@contextlib.contextmanager
def locked(folder: pathlib.Path, out: pathlib.Path) -> Iterator[None]:
  """Holds the folder for this process, also if it is killed and not longer.

  Raises:
    InputError: another process holds it.
  """
  with open(folder / "lock", "wb") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise errors.InputError(
        f"--out={out}: another command is making this dataset. Wait for it, "
        "or end it first."
      ) from None
    except OSError:
      pass  # a file system without locks
    yield
