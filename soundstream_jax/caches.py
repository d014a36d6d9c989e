"""Folders for what can be made again: tried at start, never needed.

A job may have no home, and no right to write where its packages lie. A cache
that cannot be used is one line in the log, and the work goes on without it.
"""

import os
import pathlib
import tempfile

from absl import logging

from soundstream_jax import console, paths


def folder(name: str, where: str = "auto") -> pathlib.Path | None:
  """Returns the folder of a cache, made and written to; None: there is none.

  Args:
    name: of the cache.
    where: 'auto' is `name` in this package's folder of the user's cache, which
      is XDG_CACHE_HOME or .cache in the home; else a folder, or '' for none.
  """
  if not where:
    return None
  if where == "auto":
    user = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(user):
      # Empty and relative ones count as none, as XDG's specification has it.
      home = paths.home()
      if home is None or not os.path.isdir(home):  # a home is not ours to make
        return _none(
          name,
          "this user has no home. Set XDG_CACHE_HOME to a folder's whole path",
        )
      user = os.path.join(home, ".cache")
    where = os.path.join(user, "soundstream_jax", name)
  try:
    os.makedirs(where, exist_ok=True)
    with tempfile.TemporaryFile(dir=where) as file:
      # A full disk has room for a name, but not for a block.
      file.write(bytes(4096))
  except OSError as error:
    reason = error.strerror or error
    return _none(
      name,
      f"{console.shown(where)} cannot be written ({reason}). Name another folder",
    )
  return pathlib.Path(where)


def _none(name: str, reason: str) -> None:
  # Any user could put programs into a folder in /tmp: nothing takes its place.
  logging.warning("no cache %r: %s to have one.", name, reason)
