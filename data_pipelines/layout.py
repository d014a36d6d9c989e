"""Finds a dataset's folder and the files that lie in it.

Every module of corpora/ names its parts (subfolders, as the dataset's
archives make them) and says what a file of a part is; the rest is here. People
give the folder in which they unpacked the archives, or the dataset's own folder
in it; both lead to the same files with the same names.
"""

import csv
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from soundstream_jax import errors
from soundstream_jax.audio import folders
from soundstream_jax.data_pipelines import corpus

_NUM_SHOWN = 6


def locate(
  root: pathlib.Path,
  *,
  title: str,
  own_names: Sequence[str],
  parts: Sequence[str],
) -> pathlib.Path:
  """Returns the dataset's folder: `root`, or the folder of its own in it.

  Args:
    own_names: what that folder may be called; the first one that fits counts.
    parts: paths below the dataset's folder; one of them is enough.

  Raises:
    InputError: no such folder, or none of the parts in it.
  """
  if not os.path.isdir(root):
    problem = "is a file" if os.path.exists(root) else "does not exist"
    raise errors.InputError(
      f"--input={root} {problem}. Use the folder in which the archives of "
      f"{title} were unpacked."
    )
  for folder in [root, *(root / name for name in own_names)]:
    if any(os.path.isdir(folder / part) for part in parts):
      return folder
  looked_for = f"{_list(parts)} in it"
  if own_names:
    looked_for += f" or in its {' or '.join(own_names)}"
  fix = "Use the folder in which the archives were unpacked."
  if root.name in {pathlib.PurePath(part).name for part in parts}:
    fix = f"Use the folder above it: --input={root.parent}."
  raise errors.InputError(
    f"--input={root} is not {title}: looked for a folder {looked_for}; found "
    f"{_contents(root)}. {fix}"
  )


def read(
  folder: pathlib.Path,
  *,
  title: str,
  parts: Sequence[str],
  describe: Callable[[str], tuple[str, str] | None],
) -> list[corpus.File]:
  """Returns the files of the parts, in the order of their names.

  Args:
    folder: the dataset's own; names are below it.
    parts: those that are not there are left out.
    describe: name -> (group, split), or None for a file to be passed over.

  Raises:
    InputError: no file at all is left, or a folder cannot be read.
  """
  walked = folders.walk(folder, parts=parts)
  files, passed_over = [], walked.others.copy()
  for path in walked.files:
    name = decoded(path.relative_to(folder).as_posix())
    known = describe(name)
    if not known:
      passed_over[path.suffix.lower()] += 1
      continue
    group, split = known
    files.append(corpus.File(path, name, group, path.stat().st_size, split))
  tell_left_out(walked)
  if not files:
    there = [part for part in parts if os.path.isdir(folder / part)]
    raise errors.InputError(
      f"--input={folder} has no audio of {title} in {_list(there)}; it has "
      f"{folders.seen(passed_over)}. Unpack the archives again."
    )
  return sorted(files, key=lambda file: file.name)


def tell_left_out(walked: folders.Walk) -> None:
  """Prints what may be audio and is not used, if there is any."""
  if walked.left_out:
    print(f"left out: {walked.left_out}", file=sys.stderr)


def decoded(name: str) -> str:
  """Names are bytes; those that are not UTF-8 get replacement characters."""
  return os.fsencode(name).decode("utf-8", "replace")


def table(path: pathlib.Path, columns: Sequence[str]) -> list[dict[str, str]]:
  """Returns the rows of a table with commas and a head line.

  Raises:
    InputError: no such file, not a table, or a column is missing.
  """
  try:
    with open(path, encoding="utf-8", newline="") as file:
      reader = csv.DictReader(file)
      rows = list(reader)
      head = reader.fieldnames or []
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise unusable(path, error) from None
  missing = [column for column in columns if column not in head]
  short = sum(row[column] is None for row in rows for column in head)
  if missing or short:
    problem = f"no column {_list(missing)}" if missing else "rows cut short"
    raise unusable(path, problem)
  return rows


def unusable(path: pathlib.Path, problem: object) -> errors.InputError:
  """Returns the error for a file beside the audio that cannot be used."""
  reason = getattr(problem, "strerror", None) or problem
  return errors.InputError(
    f"{path}: cannot be used ({reason}). Unpack it from the dataset's archive "
    "again."
  )


def part_speaker_chapter(
  splits: dict[str, str],
) -> Callable[[str], tuple[str, str] | None]:
  """Returns `describe` for PART/SPEAKER/CHAPTER/FILE, as LibriSpeech has it.

  Args:
    splits: part -> split.
  """

  def describe(name: str) -> tuple[str, str] | None:
    part, *middle = name.split("/")[:-1]
    return (middle[0], splits[part]) if len(middle) == 2 else None

  return describe


def _unreadable(error: OSError) -> NoReturn:
  raise errors.InputError(
    f"{error.filename}: cannot be read ({error.strerror}). Change its "
    "permissions, or use another folder."
  )


def _contents(root: pathlib.Path) -> str:
  """The first names in a folder, as far as they are told apart."""
  try:
    with os.scandir(root) as entries:
      names = sorted(entry.name for entry in itertools.islice(entries, 1000))
  except OSError as error:
    _unreadable(error)
  return _list([decoded(n) for n in names if n[0] != "."]) or "nothing"


def _list(names: Sequence) -> str:
  """'a, b, c and 4 more'."""
  shown = [str(name) for name in names[:_NUM_SHOWN]]
  more = len(names) - len(shown)
  return ", ".join(shown) + (f" and {more} more" if more else "")
