"""Lets one process at a time into a folder, and says which one is there."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator

from soundstream_jax import errors


@contextlib.contextmanager
def held(path: pathlib.Path, *, what: str) -> Iterator[None]:
  """Holds a folder by a file in it, as long as this process lives.

  The file, made with its folder where need be, says who holds it. A file
  system without locks lets everybody in.

  Args:
    path: of the file.
    what: the holder is doing and where, as in "--out=D: another command is
      making this dataset".

  Raises:
    InputError: another process holds it; with its host and number.
    OSError: the folder cannot be written to.
  """
  with _locked(path, what) as file:
    with contextlib.suppress(OSError):  # of a full disk; the lock counts
      file.truncate(0)
      file.write(f"process {os.getpid()} on {socket.gethostname()}")
      file.flush()
    yield


@contextlib.contextmanager
def waited_for(folder: pathlib.Path) -> Iterator[None]:
  """Holds a folder for a moment, after whoever else does; leaves no file."""
  number = os.open(folder, os.O_RDONLY)
  try:
    with contextlib.suppress(OSError):  # a file system without locks
      fcntl.flock(number, fcntl.LOCK_EX)
    yield
  finally:
    os.close(number)


@contextlib.contextmanager
def _locked(path: pathlib.Path, what: str) -> Iterator:
  while True:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A holder that ends may take the folder with it at any moment.
    try:
      file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except FileNotFoundError:
      continue
    with file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        raise _refused(file, what) from None
      except OSError:
        pass  # a file system without locks
      if _is_there(path, file):
        yield file
        return


def _is_there(path: pathlib.Path, file) -> bool:
  """False if what was locked is no longer the file of this name."""
  try:
    return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
  except FileNotFoundError:
    return False


def _refused(file, what: str) -> errors.InputError:
  file.seek(0)
  holder = file.read(200).strip()
  return errors.InputError(
    f"{what}{f' ({holder})' if holder else ''}. Wait for it, or end it first."
  )
