"""Standard input and output, where they carry sound or packets."""

import contextlib
import sys
from typing import BinaryIO

from soundstream_jax import endings, errors, os_signals

# The last frames of a stream may need a program that is not compiled yet.
_END_SECONDS = 60.0


class Input:
  """Standard input, which a signal ends as its own end does.

  A context manager; from the first read on SIGINT and SIGTERM are its own.

  Attributes:
    code: the exit code of the signal that came, or 0.
  """

  def __init__(self):
    if sys.stdin is None:
      raise errors.InputError(
        "standard input is closed. Send sound or packets into it."
      )
    self.code = 0
    self._file = sys.stdin.buffer
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
