"""Disks that are full or read-only, made with `mount` where that is permitted."""

import contextlib
import functools
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

_BALLAST = ".ballast"


@functools.cache
def can_mount() -> bool:
  """True where this user may mount a disk."""
  with tempfile.TemporaryDirectory() as folder:
    try:
      with small(pathlib.Path(folder)):
        return True
    except (OSError, subprocess.CalledProcessError):
      return False


@contextlib.contextmanager
def small(folder: pathlib.Path, *, megabytes: int = 48) -> Iterator[None]:
  """Puts a small disk of its own at a folder, which is made."""
  folder.mkdir(parents=True, exist_ok=True)
  _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)
  try:
    yield
  finally:
    _unmount(folder)


def fill(folder: pathlib.Path) -> None:
  """Leaves not one byte on the disk of a folder, until `free`."""
  for size in (2**16, 512, 1):
    with (
      contextlib.suppress(OSError),
      open(folder / _BALLAST, "ab", buffering=0) as file,
    ):
      while True:
        file.write(b"\0" * size)


def free(folder: pathlib.Path) -> None:
  (folder / _BALLAST).unlink(missing_ok=True)


@contextlib.contextmanager
def read_only(folder: pathlib.Path) -> Iterator[None]:
  """Lets nobody open a file of a folder for writing; open ones stay."""
  _run("mount", "--bind", folder, folder)
  try:
    _run("mount", "-o", "remount,bind,ro", folder)
    yield
  finally:
    _unmount(folder)


def _unmount(folder: pathlib.Path) -> None:
  try:
    _run("umount", folder)
  except subprocess.CalledProcessError:
    # Somebody still has a file open there: it goes when that is closed.
    _run("umount", "--lazy", folder)


def _run(*command: str | os.PathLike) -> None:
  subprocess.run(
    [str(word) for word in command], check=True, stderr=subprocess.DEVNULL
  )
