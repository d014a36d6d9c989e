"""Writes files that are whole under their name, or not there.

A file is written under a name beside its own that nobody else uses, brought
to the disk, and renamed: whoever reads at any moment, after a kill or a lost
machine, finds the old file or the new one. Two that write the same file both
end well, and the later one stays.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import endings, errors

SUFFIX = ".partial"

# A name may have 255 bytes; what is added to it takes 42.
_NAME_BYTES = 200
# What a file system answers that cannot bring a file to a disk by itself.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a name to write to, which becomes `path` at the end of the block.

  Where the block fails, nothing is left. Links are followed; what is no file,
  such as /dev/stdout, is written as it is.

  Raises:
    OSError: the disk's.
  """
  path = pathlib.Path(path)
  if is_device(path):
    yield path
    return
  target = pathlib.Path(os.path.realpath(path))
  partial = unfinished(target)
  try:
    endings.begin_file(os.fspath(partial))
    yield partial
    sync(partial)
    os.replace(partial, target)
  finally:
    with contextlib.suppress(OSError):
      partial.unlink()
    endings.unfinished.discard(os.fspath(partial))


@contextlib.contextmanager
def written(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """As `replacing`; errors are one line.

  Raises:
    DiskError, InputError: as `errors.writing`.
  """
  path = pathlib.Path(path)
  with errors.writing(path.name, path.parent), replacing(path) as partial:
    yield partial


@contextlib.contextmanager
def opened(
  path: str | os.PathLike, *, seekable: bool = False
) -> Iterator[BinaryIO]:
  """Opens a file to be written, which gets its name at the end of the block.

  Args:
    path: of the file; a pipe or device is written through.
    seekable: what is written may be gone back to: a pipe or device then gets
      all of it at the end.

  Raises:
    DiskError, InputError: as `errors.writing`.
  """
  with written(path) as partial, open(partial, "wb") as file:
    if not seekable or not is_device(path):
      yield file
      return
    with passed_on(file) as spool:
      yield spool


@contextlib.contextmanager
def temporary() -> Iterator[pathlib.Path]:
  """Gives the path of a new file that goes with the block, or the process.

  Raises:
    OSError: the disk's.
  """
  folder = tempfile.gettempdir()
  name = os.path.join(folder, f"soundstream-{uuid.uuid4().hex}{SUFFIX}")
  try:
    endings.begin_file(name)
    os.chmod(name, 0o600)
    yield pathlib.Path(name)
  finally:
    with contextlib.suppress(OSError):
      os.unlink(name)
    endings.unfinished.discard(name)


@contextlib.contextmanager
def passed_on(target: BinaryIO) -> Iterator[BinaryIO]:
  """Opens a file without a name; at the block's end it goes to `target`.

  Raises:
    DiskError: there is no space for it.
  """
  with errors.writing("a temporary file", tempfile.gettempdir()):
    spool = tempfile.TemporaryFile()  # noqa: SIM115
  with spool:
    with errors.writing("a temporary file", tempfile.gettempdir()):
      yield spool
      spool.seek(0)
    shutil.copyfileobj(spool, target)


def write(path: str | os.PathLike, data: bytes | str) -> None:
  """Writes a file of bytes, or of text as UTF-8.

  Raises:
    DiskError, InputError: as `errors.writing`.
  """
  with opened(path) as file:
    file.write(data.encode() if isinstance(data, str) else data)


def sync(path: pathlib.Path) -> None:
  """Returns when the content of a file, or a folder's names, is on the disk."""
  number = os.open(path, os.O_RDONLY)
  try:
    os.fsync(number)
  except OSError as error:
    if error.errno not in _NO_SYNC:
      raise
  finally:
    os.close(number)


def unfinished(path: pathlib.Path) -> pathlib.Path:
  """Returns a hidden name beside the file's that no other process uses."""
  name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
  return path.with_name(f".{name}.{uuid.uuid4().hex}{SUFFIX}")


def is_device(path: str | os.PathLike) -> bool:
  """True for a pipe, a terminal, /dev/null and the like, not for a folder."""
  path = pathlib.Path(path)
  if os.fspath(path.parent) in ("/dev", "/dev/fd", "/proc/self/fd"):
    return True
  return path.exists() and not path.is_file() and not path.is_dir()
