"""Checks the paths that a command reads and writes, before it loads a model."""

import argparse
import pathlib

from soundstream_jax import errors

PIPE = "-"


def checked(
  arguments: argparse.Namespace,
) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns INPUT and OUTPUT, which are files, of `options.add_files`.

  Raises:
    InputError: as `check_input` and `check_output`.
  """
  source, target = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
  check_input(source)
  check_output(target, source, force=arguments.force)
  return source, target


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
