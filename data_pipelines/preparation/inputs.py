"""Finds the dataset's files in --input, and unpacks archives where need be."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from soundstream_jax import console, errors
from soundstream_jax import paths as path_checks
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.preparation import archives
from soundstream_jax.settings import lists


@dataclasses.dataclass(frozen=True)
class Found:
  """Files, or else the archives in which they are.

  Attributes:
    loose: what lies beside the archives and belongs to them.
  """

  files: list[corpus.File] | None = None
  packed: Sequence[archives.Archive] = ()
  loose: Sequence[pathlib.Path] = ()


def look(text: str, described: corpus.Corpus) -> Found:
  """Looks at what --input names; nothing is written.

  Args:
    text: a folder, or archives with commas between.

  Raises:
    InputError: no such folder or archive, one that cannot be read, or not
      this dataset.
  """
  what = described.title or "audio files"
  if not text:
    raise errors.InputError(
      f"--input is missing: a folder of {what}, or its archives."
    )
  paths = [pathlib.Path(text)]
  if not os.path.exists(paths[0]):
    paths = [pathlib.Path(path) for path in lists.split(text)]
  for path in paths:
    if not path_checks.readable(f"--input={path}", path):
      raise errors.InputError(
        f"--input={path} does not exist. Use a folder of {what}, or archives."
      )
  if len(paths) == 1 and paths[0].is_dir():
    return _look_into(paths[0], described)
  for path in paths:
    if not archives.find([path], whole=False):
      problem = "is a folder" if path.is_dir() else "is a file"
      raise errors.InputError(
        f"--input={path} {problem}, and no archive "
        f"({', '.join(archives.SUFFIXES)}). Use one folder of {what}, or "
        "archives with commas between."
      )
  return Found(packed=archives.find(archives.siblings(paths)))


def files(
  found: Found,
  described: corpus.Corpus,
  folder: pathlib.Path,
  *,
  check: Callable[[], None],
) -> list[corpus.File]:
  """Returns the files, after unpacking archives into the working folder.

  Raises:
    InputError: as `archives.unpack`, or what was in them is not this dataset.
    OSError: the disk cannot be written to.
  """
  if found.files is not None:
    return found.files
  root = archives.unpack(
    found.packed,
    found.loose,
    folder,
    known=described.archives,
    check=check,
  )
  return described.find(root)


def unpacked(folder: pathlib.Path) -> bool:
  """True where an archive has been unpacked into the working folder."""
  return any(folder.glob(f"{archives.FOLDER}-*/*{archives.DONE}"))


def _look_into(root: pathlib.Path, described: corpus.Corpus) -> Found:
  entries = [p for p in sorted(root.iterdir()) if p.name[0] != "."]
  inside = [p for p in entries if p.is_file()]
  try:
    found = described.find(root)
  except errors.InputError:
    packed = archives.find(inside)
    if not packed:
      raise
    used = {path for archive in packed for path in archive.volumes}
    loose = [path for path in entries if path not in used]
    return Found(packed=packed, loose=loose)
  beside = archives.find(inside, whole=False)
  if beside:
    print(
      f"note: {len(beside)} archives in --input are left alone, as files are "
      f"unpacked there: {', '.join(console.shown(a.name) for a in beside[:3])} ...",
      file=sys.stderr,
    )
  return Found(files=found)
