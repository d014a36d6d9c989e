"""Errors that a user can mend: one line, an exit code of its own, nothing lost.

A value that a person typed (a flag, a path, a file) is checked where it enters
and reported by `InputError`; a disk that cannot be written or read by
`DiskError`. Their messages are one whole line: what, where, the value, the fix.
`run` turns them into that line and an exit code at the edge of every command.
Anything else is our own bug and keeps its traceback.
"""

import contextlib
import difflib
import errno
import os
import pathlib
import select
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator

from soundstream_jax import endings

# Exit codes beside 0; launchers tell them apart (launch/README.md).
EXIT_BAD_INPUT = 2
EXIT_DISK = 74
EXIT_PREEMPTED = 75
EXIT_BAD_STEPS = 76
EXIT_STUCK = 77
# As a shell has them: 128 and the signal's number.
EXIT_INTERRUPTED = 130
EXIT_NOBODY_READS = 141

# Ends that the same command would come to again, or that were asked for.
FINAL = (0, EXIT_BAD_INPUT, EXIT_DISK, EXIT_PREEMPTED, EXIT_BAD_STEPS)

# Errors of writing that a disk has; reading never gives them, nor does a bug.
_OF_A_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
# Errors of writing that a mistyped path has.
_OF_A_PATH = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


class InputError(ValueError):
  """A user's value cannot be used; the message says what to type instead."""


class DiskError(Exception):
  """A disk is full, read-only or broken; the message names it and its space."""


class NobodyReads(SystemExit):
  """Whoever read a pipe has closed it: an end without a word, as of `head`."""

  def __init__(self):
    super().__init__(EXIT_NOBODY_READS)


@contextlib.contextmanager
def writing(what: str, path: str | os.PathLike) -> Iterator[None]:
  """Turns an OSError inside into a DiskError that names the disk.

  Args:
    what: is written, as in "the checkpoint of step 20".
    path: where, a file or folder that need not exist.

  Raises:
    DiskError: the disk is full, read-only or broken.
    InputError: there can be no such path.
    NobodyReads: it is a pipe that was closed.
  """
  try:
    yield
  except BrokenPipeError as error:
    raise NobodyReads from error
  except OSError as error:
    if error.errno in _OF_A_PATH:
      raise InputError(
        f"{what} cannot be written to {path} ({error.strerror}). Name a folder "
        "that is there."
      ) from error
    raise unwritable(what, path, error.strerror or error) from error


def unwritable(what: str, path: str | os.PathLike, reason: object) -> DiskError:
  """Returns the error for something that could not be written.

  Args:
    what: was to be written.
    path: where.
    reason: as the system gives it.
  """
  return DiskError(
    f"{what} could not be written to {path} ({reason}; {space(path)}). Free "
    "space there or use another disk, and run the same command again: what "
    "was saved before is whole."
  )


def space(path: str | os.PathLike) -> str:
  """Says how much of the disk of a path is free."""
  folder = pathlib.Path(path).absolute()
  while not folder.exists():
    folder = folder.parent
  try:
    disk = shutil.disk_usage(folder)
  except OSError as error:
    return f"the disk of {folder} cannot be asked: {error.strerror}"
  return f"{disk.free / 1e6:.0f} of {disk.total / 1e6:.0f} MB free"


def nearest(name: str, known: Iterable[str]) -> str:
  """Returns " Did you mean 'x'?" for the closest known name, or ""."""
  matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
  return f" Did you mean {matches[0]!r}?" if matches else ""


def check_mounted(name: str, path: str) -> None:
  """Refuses a bucket's address: files are read and written as files.

  Raises:
    InputError: `path` is a URL, with the way to mount it.
  """
  scheme, found, rest = str(path).partition("://")
  if not found:
    return
  bucket = rest.split("/")[0] or "BUCKET"
  raise InputError(
    f"{name}={path} is an address, not a folder. Mount it "
    f"(gcsfuse {bucket} /mnt/{bucket}, or a CSI volume) and use "
    f"{name}=/mnt/{rest}."
    if scheme == "gs"
    else f"{name}={path} is an address, not a folder. Mount it and use the "
    "folder's path."
  )


def report(error: InputError | DiskError) -> int:
  """Prints the error as one line on stderr; returns its exit code."""
  line = " ".join(str(error).split())
  # A stderr that cannot be written either changes nothing.
  with contextlib.suppress(OSError, ValueError):
    print(f"error: {line}", file=sys.stderr, flush=True)
  return EXIT_DISK if isinstance(error, DiskError) else EXIT_BAD_INPUT


def run(main: Callable[..., int | None], *args) -> int:
  """Calls main(*args) at the edge of a command; returns its exit code.

  An InputError or a DiskError becomes a line and a code, and so do a signal
  that asks for the end, a full disk wherever it was met, and a standard output
  that cannot be written.
  """
  try:
    code = main(*args) or 0
  except (InputError, DiskError) as error:
    code = report(error)
  except NobodyReads as error:
    code = error.code
  except (KeyboardInterrupt, endings.Stopped) as error:
    with contextlib.suppress(OSError, ValueError):
      print("interrupted", file=sys.stderr, flush=True)
    code = getattr(error, "code", EXIT_INTERRUPTED)
  except OSError as error:
    code = _flush() or _of_output(error)
    if not code:
      raise
  return _flush() or code


def _flush() -> int:
  """Prints what waits to be printed; returns an exit code where that fails."""
  if sys.stdout is None:
    return 0
  try:
    sys.stdout.flush()
    return 0
  except OSError as error:
    # Python would try once more at its exit, and complain.
    with contextlib.suppress(OSError, ValueError):
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
      return EXIT_NOBODY_READS  # as of any program in `... | head`
    return report(
      DiskError(
        f"standard output cannot be written ({error.strerror}): some of it is "
        "lost. Free space where it goes, and run the command again."
      )
    )


def _of_output(error: OSError) -> int:
  """Returns the exit code of output that is lost; 0 for another error."""
  if isinstance(error, BrokenPipeError) and _nobody_reads():
    return EXIT_NOBODY_READS
  if error.errno not in _OF_A_DISK:
    return 0
  where = error.filename or "standard output, or a file beside it"
  return report(
    DiskError(
      f"{where}: cannot be written ({error.strerror}). Free space there or use "
      "another disk, and run the same command again."
    )
  )


def _nobody_reads() -> bool:
  """True where standard output is a pipe whose other end is closed."""
  poll = select.poll()
  try:
    poll.register(sys.stdout.fileno(), 0)
  except (AttributeError, OSError, ValueError):
    return False
  return any(event & select.POLLERR for _, event in poll.poll(0))
