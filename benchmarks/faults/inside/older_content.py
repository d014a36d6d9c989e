"""A folder that shows this process older content for a while.

As a network's file system may that keeps what it has seen: paths that were
made lately are neither listed nor found, until `seconds` after the first look.
"""

import builtins
import io
import os
import time


def begin(given: dict, say) -> None:
  """Hides given["hidden"], paths, from this process; say() at the first look."""
  hidden = tuple(os.path.abspath(path) for path in given["hidden"])
  until = None

  def shows_older() -> bool:
    nonlocal until
    if until is None:
      until = time.monotonic() + given["seconds"]
      say()
    return time.monotonic() < until

  def is_hidden(path) -> bool:
    if not isinstance(path, str | os.PathLike):
      return False
    whole = os.path.abspath(os.fspath(path))
    below = any(whole == h or whole.startswith(h + os.sep) for h in hidden)
    return below and shows_older()

  def guarded(original):
    def call(path, *args, **options):
      if is_hidden(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))
      return original(path, *args, **options)

    return call

  def listed(path=".", *args):
    return [n for n in names(path, *args) if not is_hidden(_join(path, n))]

  class Scanned:
    """What os.scandir returns, without what is hidden."""

    def __init__(self, path="."):
      self._entries = scan(path)

    def __iter__(self):
      return self

    def __next__(self):
      while is_hidden((entry := next(self._entries)).path):
        pass
      return entry

    def __enter__(self):
      return self

    def __exit__(self, *_):
      self.close()

    def close(self):
      self._entries.close()

  names, scan = os.listdir, os.scandir
  for name in ("stat", "lstat", "open"):
    setattr(os, name, guarded(getattr(os, name)))
  io.open = builtins.open = guarded(io.open)
  os.listdir = guarded(listed)
  os.scandir = guarded(Scanned)


def _join(path, name) -> str:
  return os.path.join(os.fspath(path), name)
