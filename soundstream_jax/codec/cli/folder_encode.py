"""Encodes a folder of audio files into a folder of .sstr files.

Every file is encoded on its own and appears when it is complete, so the same
command resumes where it was stopped. A file that cannot be read is listed, and
the others are encoded.
"""

import concurrent.futures
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from soundstream_jax import errors
from soundstream_jax.audio import reading
from soundstream_jax.codec.cli import file_encode, progress

Pair = tuple[pathlib.Path, pathlib.Path]
EncodeOne = Callable[[pathlib.Path, pathlib.Path], file_encode.Encoded]


def pairs(
  source: pathlib.Path, target: pathlib.Path, *, suffix: str, force: bool
) -> tuple[list[Pair], int]:
  """Returns what to encode into what, and how many are there already.

  Args:
    source: a folder.
    target: a folder, there or not.
    suffix: of the files in `target`.
    force: files that are there are made again.

  Raises:
    InputError: no audio, two files that would become one, or an output that is
      a file.
  """
  if target.exists() and not target.is_dir():
    raise errors.InputError(
      f"{target} is a file, and {source} a folder. Name a folder."
    )
  found: dict[pathlib.Path, pathlib.Path] = {}
  for path in sorted(source.rglob("*")):
    name = path.relative_to(source)
    hidden = any(part.startswith(".") for part in name.parts)
    if (
      hidden
      or path.suffix.lower() not in reading.SUFFIXES
      or not path.is_file()
    ):
      continue
    goal = target / name.with_suffix(suffix)
    if goal in found:
      raise errors.InputError(
        f"{found[goal]} and {path} would both become {goal}. Rename one."
      )
    found[goal] = path
  if not found:
    raise errors.InputError(
      f"{source}: no audio is in this folder ({', '.join(reading.SUFFIXES)})."
    )
  left = [(path, goal) for goal, path in found.items()]
  if not force:
    left = [(path, goal) for path, goal in left if not goal.exists()]
  return left, len(found) - len(left)


def encode(
  encode_one: EncodeOne,
  todo: Sequence[Pair],
  *,
  skipped: int,
  force: bool,
) -> None:
  """Encodes files side by side, as many as there are cores.

  Args:
    encode_one: encodes a file into another.
    todo: of `pairs`.
    skipped: files that were there already.
    force: as in `pairs`; else what another command has made meanwhile counts
      as skipped.

  Raises:
    InputError: some could not be encoded; at the end, after all others.
    DiskError: the disk cannot be written to; at once.
  """
  folders = {goal.parent for _, goal in todo}
  for folder in folders:
    with errors.writing("encoded files", folder):
      folder.mkdir(parents=True, exist_ok=True)
  shown, bad, others = progress.Progress(len(todo)), [], 0
  for result in _results(encode_one, todo, force):
    if isinstance(result, errors.InputError):
      bad.append(result)
    others += result is None
    shown.add(result if isinstance(result, float) else 0.0)
  for error in bad:
    print(f"not encoded: {error}", file=sys.stderr)
  skipped += others
  there = f"; {skipped} were there already" if skipped else ""
  print(
    f"{len(todo) - len(bad) - others} files encoded, {shown.heard_s:.0f} s of audio"
    f"{there}"
  )
  if bad:
    raise errors.InputError(
      f"{len(bad)} of {len(todo)} files could not be encoded; they are listed "
      "above. The same command tries them again."
    )


def _results(
  encode_one: EncodeOne,
  todo: Sequence[Pair],
  force: bool,
) -> Iterator[float | errors.InputError | None]:
  """Yields a result per file, in the order in which they end.

  Seconds of audio, an error, or None for a file that is there by now.
  """

  def attempt(pair: Pair) -> float | errors.InputError | None:
    if not force and pair[1].exists():
      return None
    try:
      return float(encode_one(*pair).seconds)
    except errors.InputError as error:
      return error

  # Threads: reading, resampling and XLA all let others run meanwhile.
  pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
  try:
    waiting = [pool.submit(attempt, pair) for pair in todo]
    for future in concurrent.futures.as_completed(waiting):
      yield future.result()
  finally:
    # After an error: what has not begun does not begin.
    pool.shutdown(cancel_futures=True)
