"""Standard input and output, where they carry sound or packets."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import endings, errors, os_signals, whole_files

PIPE = "-"  # what it is called on a command line
NAME = "standard input"

# The last frames of a stream may need a program that is not compiled yet.
_END_SECONDS = 60.0


class Input:
  """Standard input, which a signal ends as its own end does.

  A context manager; from the first read on SIGINT and SIGTERM are its own.

  Attributes:
    code: the exit code of the signal that came, or 0.
  """

  def __init__(self):
    self.code = 0
    self._file = _stdin()
    self._waits = self._begun = False
    self._handlers = os_signals.Handlers()
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> "Input":
    return self

  def __exit__(self, *_):
    self._handlers.restore()
    if not self.code:  # else this process ends by itself, with all its time
      self._stack.close()

  def read(self, size: int = -1) -> bytes:
    """Waits for so many bytes; fewer come at the end."""
    return self._wait(self._file.read, size)

  def read1(self, size: int) -> bytes:
    """Waits for some bytes, at most so many; none come at the end."""
    return self._wait(self._file.read1, size)

  def _wait(self, read, size: int) -> bytes:
    if self.code:
      return b""
    if not self._begun:
      self._begun = True
      self._handlers.install(endings.obeyed(), self._end)
      self._stack.enter_context(endings.patient(_END_SECONDS))
    self._waits = True
    try:
      return read(size)
    except endings.Stopped:
      return b""
    finally:
      self._waits = False

  def _end(self, number, frame):
    del frame
    self.code = 128 + number
    if self._waits:
      raise endings.Stopped(self.code)


def output() -> BinaryIO:
  """Returns standard output.

  Raises:
    InputError: it is closed.
  """
  if sys.stdout is None:
    raise errors.InputError(
      "standard output is closed. Send it to a file or a pipe."
    )
  return sys.stdout.buffer


@contextlib.contextmanager
def path_of_input() -> Iterator[pathlib.Path]:
  """Gives standard input a path, to be read as often as needed.

  It is its own if it is a file; else `copied` has it.

  Raises:
    InputError: it is closed, or a terminal.
    DiskError: there is no space for it.
  """
  file = _stdin()
  if file.isatty():
    raise errors.InputError(
      "standard input is a terminal. Send sound or packets into it, as in "
      "... | soundstream COMMAND ..., or < FILE."
    )
  if file.seekable() and not file.tell() and (itself := _path(file)):
    yield itself
    return
  with copied(file, NAME) as path:
    yield path


@contextlib.contextmanager
def copied(pipe: BinaryIO, name: str) -> Iterator[pathlib.Path]:
  """Gives what comes through a pipe a path: of a temporary file.

  A signal removes it as well.

  Args:
    pipe: is read to its end.
    name: for messages.

  Raises:
    DiskError: there is no space for it.
  """
  folder = tempfile.gettempdir()
  with whole_files.temporary() as path:
    with errors.writing(name, folder), open(path, "wb") as copy:
      shutil.copyfileobj(pipe, copy, 1 << 20)
    yield path


def _path(file: BinaryIO) -> pathlib.Path | None:
  """Returns where a file is, for children too; None: it has no name (left)."""
  path = os.path.realpath(f"/dev/fd/{file.fileno()}")
  try:
    same = os.path.samestat(os.stat(path), os.fstat(file.fileno()))
  except OSError:
    return None
  return pathlib.Path(path) if same and os.path.isfile(path) else None


def _stdin() -> BinaryIO:
  if sys.stdin is None:
    raise errors.InputError(
      "standard input is closed. Send sound or packets into it."
    )
  return sys.stdin.buffer
