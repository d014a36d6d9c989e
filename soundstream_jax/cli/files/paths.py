"""Paths that a command reads and writes: files, folders, "-" for a pipe.

Checked before a model is loaded, and opened only then.
"""

import argparse
import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import console, errors, whole_files
from soundstream_jax import paths as paths_lib
from soundstream_jax.cli.files import pipes


def is_folder(arguments: argparse.Namespace) -> bool:
  """True if INPUT of `options.add_files` is a folder."""
  return arguments.input != pipes.PIPE and os.path.isdir(arguments.input)


def check(arguments: argparse.Namespace) -> None:
  """Checks INPUT and OUTPUT of `options.add_files`, each a file or a pipe.

  Raises:
    InputError: as `check_input` and `check_output`.
  """
  if arguments.input != pipes.PIPE:
    check_input(pathlib.Path(arguments.input))
  if arguments.output == pipes.PIPE:
    pipes.output()
  else:
    source = None if arguments.input == pipes.PIPE else arguments.input
    check_output(pathlib.Path(arguments.output), source, force=arguments.force)


def check_input(source: pathlib.Path) -> None:
  """Refuses what is no file.

  Raises:
    InputError: a folder, nothing of that name, or one that may not be read.
  """
  if source.is_dir():
    raise errors.InputError(f"{source}: this is a folder. Name one file.")
  there = paths_lib.readable(os.fspath(source), source)
  if source.is_symlink() and not there:
    raise errors.InputError(
      f"{source}: this is a link to {os.readlink(source)}, which is not there."
    )
  if not there:
    raise errors.InputError(f"{source}: there is no such file.")


def check_output(
  target: pathlib.Path, source: str | pathlib.Path | None, *, force: bool
) -> None:
  """Refuses to write where it cannot be done, or over what is there.

  Links are followed. What is no file, a pipe or a device, is written through,
  and nothing of it is replaced.

  Args:
    target: to be written.
    source: that is read; None: no file.
    force: a file may be replaced, or made where a link leads.

  Raises:
    InputError: a folder, a folder that is not there or may not be written to,
      the input itself, or a file or link, unless `force`.
  """
  with errors.reading(os.fspath(target)):
    target.exists()  # or the system refuses the path
  if target.is_dir():
    raise errors.InputError(f"{target}: this is a folder. Name one file.")
  both = target.exists() and source is not None and os.path.exists(source)
  if both and target.is_file() and target.samefile(source):
    raise errors.InputError(f"{target}: input and output are the same file.")
  if whole_files.is_device(target):
    return
  if os.path.lexists(target) and not force:
    what = f"{target} exists already"
    if not target.exists():
      what = f"{target} is a link to {os.readlink(target)}, which is not there"
    raise errors.InputError(f"{what}. Use --force to replace it.")
  paths_lib.check_writable_file(
    os.fspath(target), pathlib.Path(os.path.realpath(target))
  )


@contextlib.contextmanager
def source(argument: str) -> Iterator[tuple[pathlib.Path, str]]:
  """Gives the path of INPUT, to be read as often as needed, and its name.

  Raises:
    InputError, DiskError: as `pipes.path_of_input`.
  """
  path, name = pathlib.Path(argument), console.shown(argument)
  if argument == pipes.PIPE:
    with pipes.path_of_input() as path:
      yield path, pipes.NAME
  elif path.is_fifo():  # as of a shell's <(...)
    with open(path, "rb") as pipe, pipes.copied(pipe, name) as copy:
      yield copy, name
  else:
    yield path, name


@contextlib.contextmanager
def target(argument: str, *, seekable: bool = False) -> Iterator[BinaryIO]:
  """Opens OUTPUT: a file has its name at the end of the block, if all is well.

  Args:
    argument: a path, or a pipe.
    seekable: what is written may be gone back to: a pipe then gets all of it
      at the end.

  Raises:
    DiskError, InputError: as `errors.writing`.
  """
  with contextlib.ExitStack() as stack:
    if argument != pipes.PIPE:
      opened = whole_files.opened(argument, seekable=seekable)
      yield stack.enter_context(opened)
      return
    written = pipes.output()
    if seekable:
      yield stack.enter_context(whole_files.passed_on(written))
    else:
      yield written
