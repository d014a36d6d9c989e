"""Does a command on a folder: every file becomes one of a mirrored tree.

Every file is done on its own and appears when it is complete, so the same
command resumes where it was stopped. A file that cannot be used is listed, and
the others are done.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from soundstream_jax import console, errors, whole_files
from soundstream_jax.audio import folders
from soundstream_jax.cli import printing
from soundstream_jax.cli.files import paths, pipes
from soundstream_jax.cli.files import progress as progress_lib

# Does a file (a path, its name) into another (open, its name).
DoOne = Callable[[pathlib.Path, str, BinaryIO, str], printing.Done]
Pair = tuple[pathlib.Path, pathlib.Path]


@dataclasses.dataclass(frozen=True)
class Task:
  """What a command does to each file of a folder.

  Attributes:
    verb: 'encode', as its past participle is 'encoded'.
    of: suffixes of its input; None is audio.
    kinds: of input, for messages.
    suffix: of the files that are made.
    seekable: what is made is gone back to, as of `whole_files.opened`.
  """

  verb: str
  of: frozenset[str] | None
  kinds: str
  suffix: str
  seekable: bool = False

  @property
  def done(self) -> str:
    return f"{self.verb}d"


def perform(
  task: Task, arguments: argparse.Namespace, begin: Callable[[], DoOne]
) -> int:
  """Does INPUT, a file, a pipe or a folder, into OUTPUT.

  Args:
    task: what is done.
    arguments: with those of `options.add_files`.
    begin: called when there is something to do, and the paths are right;
      returns what does one file.

  Returns:
    The exit code: 0, or that of damaged input, of which what is whole was used.

  Raises:
    InputError: what cannot be done; of a folder, at the end.
    DiskError: the disk cannot be written to.
  """
  if paths.is_folder(arguments):
    return _perform_on_folder(task, arguments, begin)
  paths.check(arguments)
  do_one = begin()
  with paths.source(arguments.input) as (path, name):
    with paths.target(arguments.output, seekable=task.seekable) as target:
      done = do_one(path, name, target, console.shown(arguments.output))
    code = printing.report_damage(name, done.damages)
  printing.say(done.lines, arguments.output)
  return code


def _perform_on_folder(
  task: Task, arguments: argparse.Namespace, begin: Callable[[], DoOne]
) -> int:
  source, target = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
  everything = _pairs(task, source, target)
  todo = everything
  if not arguments.force:
    todo = [pair for pair in everything if not os.path.lexists(pair[1])]
  folders_of_goals = {goal.parent for _, goal in todo}
  for place in folders_of_goals:
    with errors.writing(f"{task.done} files", place):
      place.mkdir(parents=True, exist_ok=True)
  do_one = begin() if todo else None
  return _do(
    task,
    functools.partial(_one_of_many, task, do_one),
    todo,
    skipped=len(everything) - len(todo),
    force=arguments.force,
  )


def _pairs(
  task: Task, source: pathlib.Path, target: pathlib.Path
) -> list[Pair]:
  """Returns what becomes what; says what is left out.

  Raises:
    InputError: no input, two files that would become one, or an output that is
      a file or a pipe.
  """
  if os.fspath(target) == pipes.PIPE:
    raise errors.InputError(
      f"{source} is a folder, and a pipe takes one file. Name a folder."
    )
  if os.path.lexists(target) and not target.is_dir():
    raise errors.InputError(
      f"{target} is a file, and {source} a folder. Name a folder."
    )
  if target.suffix.lower() == task.suffix and not target.exists():
    raise errors.InputError(
      f"{source}: this is a folder, and {target} is named like one file. Name "
      "a folder, or one file of it."
    )
  walk = folders.walk(source, of=task.of)
  if walk.left_out:
    print(f"left out: {walk.left_out}", file=sys.stderr)
  found: dict[pathlib.Path, pathlib.Path] = {}
  for path in _input(task, walk.files, source, target):
    goal = target / path.relative_to(source).with_suffix(task.suffix)
    if goal in found:
      raise errors.InputError(
        f"{found[goal]} and {path} would both become {goal}. Rename one."
      )
    found[goal] = path
  if not found:
    raise errors.InputError(
      f"{source}: no {task.kinds} in this folder; it has "
      f"{folders.seen(walk.others)}."
    )
  return [(path, goal) for goal, path in found.items()]


def _input(
  task: Task,
  files: Sequence[pathlib.Path],
  source: pathlib.Path,
  target: pathlib.Path,
) -> Iterator[pathlib.Path]:
  """Yields files that are not what the task has made.

  Raises:
    InputError: files would become themselves.
  """
  whole, made = (pathlib.Path(os.path.realpath(p)) for p in (source, target))
  alike = task.suffix in (task.of or ())
  if alike and made == whole:
    raise errors.InputError(
      f"{target}: input and output are the same folder. Name another one."
    )
  below = alike and whole in made.parents
  for path in files:
    if not below or made not in pathlib.Path(os.path.realpath(path)).parents:
      yield path


def _one_of_many(
  task: Task, do_one: DoOne, source: pathlib.Path, goal: pathlib.Path
) -> printing.Done:
  with whole_files.opened(goal, seekable=task.seekable) as target:
    return do_one(source, console.shown(source), target, console.shown(goal))


def _do(
  task: Task,
  do_one: Callable[[pathlib.Path, pathlib.Path], printing.Done],
  todo: Sequence[Pair],
  *,
  skipped: int,
  force: bool,
) -> int:
  """Does files side by side, as many as there are cores.

  Raises:
    InputError: some could not be done; at the end, after all others.
    DiskError: the disk cannot be written to; at once.
  """
  progress, bad, damaged, others = progress_lib.Progress(len(todo)), [], 0, 0
  for source, result in _results(do_one, todo, force):
    if isinstance(result, errors.InputError):
      bad.append(result)
    others += result is None
    heard = isinstance(result, printing.Done)
    progress.add(result.seconds if heard else 0.0)
    if heard and result.damages:
      damaged += 1
      printing.report_damage(source, result.damages)
  for error in bad:
    print(f"not {task.done}: {console.line(error)}", file=sys.stderr)
  skipped += others
  there = f"; {skipped} were there already" if skipped else ""
  print(
    f"{len(todo) - len(bad) - others} files {task.done}, "
    f"{progress.heard_s:.0f} s of audio{there}"
  )
  if bad:
    raise errors.InputError(
      f"{len(bad)} of {len(todo)} files could not be {task.done}; they are "
      "listed above. The same command tries them again."
    )
  if damaged:
    raise errors.InputError(
      f"{damaged} of {len(todo)} files are damaged, as listed above; what is "
      f"whole of them was {task.done}."
    )
  return 0


def _results(
  do_one: Callable[[pathlib.Path, pathlib.Path], printing.Done],
  todo: Sequence[Pair],
  force: bool,
) -> Iterator[tuple[pathlib.Path, printing.Done | errors.InputError | None]]:
  """Yields the file and its result, in the order in which they end.

  A result, an error, or None for a file that another command made meanwhile.
  """

  def attempt(pair: Pair) -> printing.Done | errors.InputError | None:
    if not force and os.path.lexists(pair[1]):
      return None
    try:
      return do_one(*pair)
    except errors.InputError as error:
      return error

  # Threads: reading, resampling and XLA all let others run meanwhile.
  pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
  try:
    waiting = {pool.submit(attempt, pair): pair[0] for pair in todo}
    for future in concurrent.futures.as_completed(waiting):
      yield waiting[future], future.result()
  finally:
    # After an error: what has not begun does not begin.
    pool.shutdown(cancel_futures=True)
