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

from soundstream_jax import console, endings

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
# Errors that a path has, or this user's rights, and what mends them.
_OF_A_PATH = {
  errno.ENOENT: "Check the path.",
  errno.ENOTDIR: "A part of the path is a file: check the path.",
  errno.EISDIR: "It is a folder: name a file.",
  errno.EEXIST: "Something else has this name: use another one.",
  errno.ENAMETOOLONG: "Use a shorter name.",
  errno.ELOOP: "Its links lead in a circle: name what they should lead to.",
  errno.EACCES: "Change its permissions, or use another path.",
  errno.EPERM: "Change its permissions, or use another path.",
  errno.EINVAL: "This file system has no such names: use another one.",
  errno.EILSEQ: "This file system has no such names: use another one.",
  errno.ENXIO: "Nothing is behind this device or pipe: use another path.",
  errno.EMFILE: "Raise the limit of open files (ulimit -n).",
}
# Errors of a disk, or of a network's, that answers no more.
_OF_A_MOUNT = {
  errno.EIO,
  errno.ESTALE,
  errno.ENOTCONN,
  errno.EHOSTDOWN,
  errno.EHOSTUNREACH,
  errno.EREMOTEIO,
  errno.ETIMEDOUT,
}
# What is not there in here is our own mistake.
_PACKAGE = os.path.dirname(os.path.abspath(__file__))


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
    InputError: there can be no such path, or it is not this user's to write.
    NobodyReads: it is a pipe that was closed.
  """
  try:
    yield
  except BrokenPipeError as error:
    raise NobodyReads from error
  except OSError as error:
    if not _is_near(error.filename, path):
      # Another file was read or written meanwhile.
      if (known := translated(error)) is not None:
        raise known from error
      raise
    # A right that is missing is told of a name; else it is the disk's answer.
    if error.errno in _OF_A_PATH and (error.filename or not _is_right(error)):
      fix = _fix(error)
      if error.errno in (errno.ENOENT, errno.ENOTDIR):
        fix = "Name a folder that is there."
      raise InputError(
        f"{what} cannot be written to {path} ({error.strerror}). {fix}"
      ) from error
    raise unwritable(what, path, error.strerror or error) from error


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
  """Turns an OSError inside into an InputError that begins with a name.

  Args:
    name: of what is looked at, as the user gave it: "--workdir=runs/a".

  Raises:
    InputError: with what the system says, and of which file.
  """
  try:
    yield
  except OSError as error:
    file = "" if error.filename is None else console.shown(error.filename)
    where = f"{name}: {file}" if file and not name.endswith(file) else name
    raise InputError(
      f"{where}: {error.strerror or error}. {_fix(error)}"
    ) from error


def translated(error: BaseException) -> InputError | DiskError | None:
  """Returns the error to report for one of the system; None: it is our bug.

  An error of the system is a user's if it names a file that is not of this
  package, or if it is one that only disks have.
  """
  if isinstance(error, InputError | DiskError):
    return error
  if not isinstance(error, OSError):
    return None
  named = isinstance(error.filename, str | bytes | os.PathLike)
  where = console.shown(error.filename) if named else "a file"
  if error.errno in _OF_A_DISK:
    if not named:
      where = "standard output, or a file beside it"
    return DiskError(
      f"{where}: cannot be written ({error.strerror}). Free space there or use "
      "another disk, and run the same command again."
    )
  ours = named and _is_below(error.filename, _PACKAGE)
  broken = error.errno in (errno.EIO, errno.ESTALE, errno.EREMOTEIO)
  known = error.errno in _OF_A_PATH or is_of_a_mount(error)
  if broken or (known and named and not ours):
    return InputError(f"{where}: {error.strerror}. {_fix(error)}")
  return None


def is_of_a_mount(error: BaseException) -> bool:
  """True for what the system says of a disk or a network that answers no more."""
  return isinstance(error, OSError) and error.errno in _OF_A_MOUNT


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
  while not os.path.exists(folder):
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
  line = console.line(error)
  # A stderr that cannot be written either changes nothing.
  with contextlib.suppress(OSError, ValueError):
    print(f"error: {line}", file=sys.stderr, flush=True)
  return EXIT_DISK if isinstance(error, DiskError) else EXIT_BAD_INPUT


def run(main: Callable[..., int | None], *args) -> int:
  """Calls main(*args) at the edge of a command; returns its exit code.

  An InputError or a DiskError becomes a line and a code, and so do a signal
  that asks for the end, a file or a disk that the system refuses wherever it
  was met, and a standard output that cannot be written.
  """
  console.prepare()
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
  known = translated(error)
  return 0 if known is None else report(known)


def _fix(error: OSError) -> str:
  """Returns what mends an error of the system."""
  if is_of_a_mount(error):
    return "Its disk, or its network, fails: mount it again."
  return _OF_A_PATH.get(error.errno, "Check the path.")


def _is_right(error: OSError) -> bool:
  return error.errno in (errno.EACCES, errno.EPERM)


def _is_near(file: object, folder: str | os.PathLike) -> bool:
  """False where a file is named that has nothing to do with a folder."""
  if not isinstance(file, str | bytes | os.PathLike):
    return True
  return _is_below(file, folder) or _is_below(folder, file)


def _is_below(file: str | bytes | os.PathLike, folder: str | os.PathLike):
  paths = (os.path.realpath(os.fsdecode(path)) for path in (file, folder))
  file, folder = (os.path.join(path, "") for path in paths)
  return file.startswith(folder)


def _nobody_reads() -> bool:
  """True where standard output is a pipe whose other end is closed."""
  poll = select.poll()
  try:
    poll.register(sys.stdout.fileno(), 0)
  except (AttributeError, OSError, ValueError):
    return False
  return any(event & select.POLLERR for _, event in poll.poll(0))
