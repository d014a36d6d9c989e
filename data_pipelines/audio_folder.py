"""Any folder of audio files -> pieces of mono audio, grouped and split.

A group is what must not be spread over splits: by default the files of one
folder. Which split it goes to depends on nothing but its name.
"""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator

from soundstream_jax import errors
from soundstream_jax.audio import io
from soundstream_jax.data_pipelines import progress, records


@dataclasses.dataclass(frozen=True)
class File:
  path: pathlib.Path
  name: str  # path relative to the input folder, with "/"
  group: str
  size_bytes: int


@dataclasses.dataclass(frozen=True)
class Skipped:
  name: str
  reason: str


def find(input_folder: str, *, group_by: str) -> list[File]:
  """Returns the audio files below the folder in path order.

  Symbolic links are followed; hidden files and folders are passed over.

  Raises:
    InputError: no such folder, no audio in it, or a `group_by` that does not
      fit.
  """
  if not input_folder:
    raise errors.InputError("--input is missing: a folder of audio files.")
  root = pathlib.Path(input_folder)
  if not root.is_dir():
    problem = "is a file" if root.exists() else "does not exist"
    raise errors.InputError(
      f"--input={input_folder} {problem}. Use a folder of audio files."
    )
  group_of = grouping(group_by)
  files, others = [], collections.Counter()
  for path in _walk(root):
    if path.suffix.lower() not in io.SUFFIXES:
      others[path.suffix.lower() or "no suffix"] += 1
      continue
    name = _text(path.relative_to(root).as_posix())
    files.append(File(path, name, group_of(name), path.stat().st_size))
  if not files:
    seen = ", ".join(f"{n} {kind}" for kind, n in others.most_common(3))
    raise errors.InputError(
      f"--input={input_folder} has no audio files "
      f"({', '.join(io.SUFFIXES)}); it has {seen or 'no files at all'}."
    )
  return sorted(files, key=lambda file: file.name)


def grouping(group_by: str) -> Callable[[str], str]:
  """Returns the function file name -> group.

  Args:
    group_by: 'parent', 'file', 'depth:N', or a regular expression with one
      group that is searched in the name.

  Raises:
    InputError: none of these. The returned function raises it for a name in
      which the expression is not found.
  """
  if group_by == "parent":
    return lambda name: name.rpartition("/")[0] or "."
  if group_by == "file":
    return lambda name: name
  if group_by.startswith("depth:"):
    depth = group_by.removeprefix("depth:")
    if not depth.isdecimal() or int(depth) < 1:
      raise errors.InputError(
        f"--group_by={group_by}: the depth must be a whole number of at least "
        "1, for example depth:1 for the folders directly below --input."
      )
    return lambda name: "/".join(name.split("/")[:-1][: int(depth)]) or "."
  try:
    pattern = re.compile(group_by)
  except re.error as error:
    raise errors.InputError(
      f"--group_by={group_by} is not a regular expression ({error}). Use "
      "parent, file, depth:N, or an expression such as '(speaker[0-9]+)'."
    ) from None
  if pattern.groups != 1:
    near = errors.nearest(group_by, ("parent", "file", "depth:1"))
    raise errors.InputError(
      f"--group_by={group_by} has {pattern.groups} groups, not one.{near} Use "
      "parent, file, depth:N, or an expression such as '(speaker[0-9]+)'."
    )

  def search(name: str) -> str:
    match = pattern.search(name)
    if match is None or not match[1]:
      raise errors.InputError(
        f"--group_by={group_by} finds no group in {name!r}. Change the "
        "expression so that it matches every file's path below --input."
      )
    return match[1]

  return search


def assign(
  files: Iterable[File], percentages: tuple[int, int, int]
) -> dict[str, list[File]]:
  """Returns split -> its files, ordered by group and then by name.

  Raises:
    InputError: no group falls into the training split.
  """
  splits = {split: [] for split in records.SPLITS}
  for file in files:
    splits[records.split_of(file.group, percentages)].append(file)
  if not splits["train"]:
    groups = {file.group for file in files}
    raise errors.InputError(
      f"--group_by makes {len(groups)} group{'s' * (len(groups) != 1)}, and "
      "none falls into the training split. Use --group_by=file or "
      "--group_by=depth:N with a larger N for more groups."
    )
  for members in splits.values():
    members.sort(key=lambda file: (file.group, file.name))
  return splits


class Reader:
  """Reads splits one after the other, and remembers what it had to skip."""

  def __init__(self, splits: dict[str, list[File]], *, sample_rate_hz: int):
    self.skipped: list[Skipped] = []
    self._splits = splits
    self._sample_rate_hz = sample_rate_hz
    self._total_bytes = sum(f.size_bytes for fs in splits.values() for f in fs)
    self._done_bytes = 0
    self._seconds = 0.0
    self._progress = progress.Progress()

  def pieces(self, split: str) -> Iterator[records.Piece]:
    """Yields the files of a split, decoded ahead in threads, in order."""
    for file, result in _in_order(self._splits[split], self._decode):
      self._done_bytes += file.size_bytes
      if isinstance(result, Skipped):
        self.skipped.append(result)
      else:
        self._seconds += len(result.audio) / self._sample_rate_hz
        yield result
      self._progress.update(
        self._done_bytes / max(1, self._total_bytes), self._seconds
      )

  def close(self) -> None:
    self._progress.close()

  def _decode(self, file: File) -> records.Piece | Skipped:
    try:
      audio = io.read_mono(file.path, sample_rate_hz=self._sample_rate_hz)
    except errors.InputError as error:
      reason = str(error).removeprefix(f"{file.path}: ")
      return Skipped(file.name, reason)
    return records.Piece(file.group, file.name, io.to_int16(audio))


def _in_order(files: list[File], decode: Callable) -> Iterator:
  """Yields (file, decode(file)) in order; few results wait at a time."""
  # Decoding and resampling let go of the interpreter lock.
  workers = min(16, os.cpu_count() or 1)
  pool = concurrent.futures.ThreadPoolExecutor(workers)
  waiting = collections.deque()
  try:
    for file in files:
      waiting.append((file, pool.submit(decode, file)))
      if len(waiting) > 2 * workers:
        first, future = waiting.popleft()
        yield first, future.result()
    while waiting:
      first, future = waiting.popleft()
      yield first, future.result()
  finally:
    pool.shutdown(cancel_futures=True)


def _walk(root: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields files below root, each folder once although links may loop."""
  visited = set()
  for folder, subfolders, names in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    if real in visited:
      subfolders.clear()
      continue
    visited.add(real)
    subfolders[:] = sorted(s for s in subfolders if s[0] != ".")
    for name in names:
      path = pathlib.Path(folder, name)
      if name[0] != "." and path.is_file():
        yield path


def _text(name: str) -> str:
  """Names are bytes; those that are not UTF-8 get replacement characters."""
  return os.fsencode(name).decode("utf-8", "replace")
