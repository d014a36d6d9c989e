"""The files a command reads and writes: what is wrong with them costs nothing.

All of it is checked before a model is loaded.
"""

import pathlib

from soundstream_jax import errors

PIPE = "-"


def check_input(source: pathlib.Path) -> None:
  """Refuses what is no file.

  Raises:
    InputError: a folder, or nothing of that name.
  """
  if source.is_dir():
    raise errors.InputError(f"{source}: this is a folder. Name one file.")
  if not source.exists():
    raise errors.InputError(f"{source}: there is no such file.")


def check_output(
  target: pathlib.Path, source: pathlib.Path, *, force: bool
) -> None:
  """Refuses to write where it cannot be done, or over what is there.

  Raises:
    InputError: a folder, a folder that is not there, the input itself, or a
      file, unless `force`.
  """
  if target.is_dir():
    raise errors.InputError(f"{target}: this is a folder. Name one file.")
  if not target.parent.is_dir():
    raise errors.InputError(f"{target}: there is no folder {target.parent}.")
  if target.exists():
    if source.exists() and target.samefile(source):
      raise errors.InputError(f"{target}: input and output are the same file.")
    if not force:
      raise errors.InputError(
        f"{target} exists already. Use --force to replace it."
      )
