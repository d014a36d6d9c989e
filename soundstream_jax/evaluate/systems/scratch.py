"""A folder of temporary files that goes with its block, or a later one.

A process that is killed leaves its folder, whose lock goes with it: whoever
next needs a folder removes those that nobody holds.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from soundstream_jax import errors

_PREFIX = "soundstream-system-"
_LOCK = "lock"


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
  """Gives an empty folder that no other process touches.

  Raises:
    DiskError, InputError: it cannot be made, as `errors.writing`.
  """
  root = pathlib.Path(tempfile.gettempdir())
  with errors.writing("temporary files", root):
    _sweep(root)
    # Locked before it has its name: nobody sweeps it in between.
    new = pathlib.Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=root))
    lock = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
  try:
    with errors.writing("temporary files", root):
      with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_EX)
      named = new.rename(root / new.name[1:])
      inner = named / "files"
      inner.mkdir()
    yield inner
  finally:
    os.close(lock)
    for path in (new, root / new.name[1:]):
      shutil.rmtree(path, ignore_errors=True)


def _sweep(root: pathlib.Path) -> None:
  """Removes this user's folders that nobody holds."""
  for path in root.glob(f"{_PREFIX}*"):
    with contextlib.suppress(OSError):
      if path.is_symlink() or path.stat().st_uid != os.getuid():
        continue
      lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
      finally:
        os.close(lock)
