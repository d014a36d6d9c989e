"""Lets one process at a time into a folder, and says which one is there."""

import contextlib
import fcntl
import os
import pathlib
import socket
import sys
import time
from collections.abc import Iterator

from soundstream_jax import errors

# Writing a model's files takes seconds, on a slow disk a minute.
_MOMENT_SECONDS = 300.0
_SAY_SECONDS = 10.0
_LOOK_SECONDS = 0.02


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
  """Holds a folder for a moment, after whoever else does; leaves no file.

  Raises:
    InputError: another process holds it for longer than any moment.
  """
  number = os.open(folder, os.O_RDONLY)
  try:
    _wait(number, folder)
    yield
  finally:
    os.close(number)


def _wait(number: int, folder: pathlib.Path) -> None:
  """Waits for the lock of an open folder, and says so."""
  began = said = time.monotonic()
  while True:
    try:
      fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
      return
    except BlockingIOError:
      pass
    except OSError:  # a file system without locks
      return
    now = time.monotonic()
    if now - began > _MOMENT_SECONDS:
      raise errors.InputError(
        f"{folder}: another process has been writing there for "
        f"{_MOMENT_SECONDS:.0f} s. Wait for it, or end it first (fuser {folder} "
        "names it)."
      )
    if now - said > _SAY_SECONDS:
      said = now
      with contextlib.suppress(OSError, ValueError):
        print(
          f"waiting for another process that writes into {folder}",
          file=sys.stderr,
          flush=True,
        )
    time.sleep(_LOOK_SECONDS)


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
