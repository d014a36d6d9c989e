"""Builds shards in several processes, each a fresh interpreter.

A worker is `python -m soundstream_jax.data_pipelines.workers FOLDER`. It reads
numbers of shards on its standard input and answers, a JSON object a line:

  {"bytes": n, "seconds": s}   input read and audio made since the last line
  {"built": number}            the shard is complete
  {"problem": text}            bad input; the worker ends
  {"full": text}               the disk cannot be written to; likewise

It ends as soon as its input does, which is when its parent dies, however that
happens. It is in a session of its own: Ctrl-C reaches the parent alone.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable

from soundstream_jax import errors
from soundstream_jax.data_pipelines.preparation import (
  dataset_files,
  disk,
  interrupts,
  progress,
  shards,
)
from soundstream_jax.data_pipelines.preparation import plan as plan_lib

# The module that calls `main`: an address outside of this folder, which stays
# when what is in here moves.
_MODULE = "soundstream_jax.data_pipelines.workers"
# A signal that came while a library swallowed it is looked for this often.
_WAIT_SECONDS = 0.2


def build(
  folder: pathlib.Path,
  plan: plan_lib.Plan,
  numbers: Iterable[int],
  *,
  out: pathlib.Path,
  count: int,
  watcher: interrupts.Interrupts,
) -> None:
  """Builds the shards with these numbers, in `count` processes.

  Work for one process is done in this one.

  Raises:
    InputError: a file of the plan is gone or has changed, or a worker was
      killed.
    DiskError: the disk cannot be written to.
    RuntimeError: a worker failed; its traceback is on stderr.
  """
  numbers = list(numbers)
  total = max(1, plan.size_bytes)
  done_bytes = total - sum(plan.shards[n].size_bytes for n in numbers)
  shown = progress.Progress(already=done_bytes / total)
  seconds = 0.0

  def told(more_bytes: int, more_seconds: float) -> None:
    nonlocal done_bytes, seconds
    watcher.check()
    done_bytes += more_bytes
    seconds += more_seconds
    shown.update(done_bytes / total, seconds)

  # Starting a process takes about as long as a small shard.
  small = plan_lib.SMALLEST_SHARD_BYTES
  count = min(count, len(numbers), -(-(total - done_bytes) // small))
  try:
    if count <= 1:
      for number in numbers:
        with dataset_files.writing(out):
          shards.build(folder, plan, number, told=told)
    else:
      _build_apart(folder, numbers, out, count, told)
  finally:
    shown.close()


def _build_apart(folder, numbers, out, count, told) -> None:
  waiting, answers = queue.SimpleQueue(), queue.SimpleQueue()
  for number in numbers:
    waiting.put(number)
  processes, drivers = [], []
  try:
    for _ in range(count):
      process = subprocess.Popen(
        [sys.executable, "-m", _MODULE, str(folder), str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
      )
      processes.append(process)
      driver = threading.Thread(target=_drive, args=(process, waiting, answers))
      driver.start()
      drivers.append(driver)
    left = len(numbers)
    while left:
      try:
        answer = answers.get(timeout=_WAIT_SECONDS)
      except queue.Empty:
        answer = {}
      told(answer.get("bytes", 0), answer.get("seconds", 0.0))
      left -= "built" in answer
      if "problem" in answer:
        raise errors.InputError(answer["problem"])
      if "full" in answer:
        raise errors.DiskError(answer["full"])
      if "ended" in answer:
        raise _ended(**answer)
  finally:
    for process in processes:
      process.kill()  # what it was writing is under other names
    for driver in drivers:
      driver.join()
    for process in processes:
      with contextlib.suppress(OSError), process:  # closes its pipes
        pass
    disk.remove_unfinished(folder / shards.FOLDER)


def _drive(process, waiting, answers) -> None:
  """Hands shards to one worker and passes on what it says."""
  while True:
    try:
      number = waiting.get_nowait()
    except queue.Empty:
      return
    with contextlib.suppress(OSError):  # it has ended, which reading shows
      print(number, file=process.stdin, flush=True)
    answer = {}
    while "built" not in answer:
      line = process.stdout.readline()
      if not line.endswith("\n"):
        answers.put({"ended": process.wait(), "number": number})
        return
      answer = json.loads(line)
      answers.put(answer)
      if answer.keys() & {"problem", "full"}:
        return


def _ended(*, ended: int, number: int) -> Exception:
  if ended >= 0:
    return RuntimeError(f"shard {number} failed; the reason is above")
  name = signal.Signals(-ended).name
  return errors.InputError(
    f"the process that built shard {number} was killed ({name}), perhaps for "
    "want of memory. The same command resumes; use fewer --workers."
  )


def main(folder: str, out: str) -> None:
  """Runs a worker until its standard input ends."""
  # Whatever a library prints goes to stderr, not between the answers.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  numbers = queue.SimpleQueue()
  threading.Thread(target=_listen, args=(numbers,), daemon=True).start()
  plan = plan_lib.load(pathlib.Path(folder))

  def say(**answer) -> None:
    try:
      print(json.dumps(answer), file=answers, flush=True)
    except OSError:
      os._exit(0)  # nobody listens any more

  while True:
    number = numbers.get()
    try:
      with dataset_files.writing(pathlib.Path(out)):
        shards.build(
          pathlib.Path(folder),
          plan,
          number,
          told=lambda size_bytes, seconds: say(
            bytes=size_bytes, seconds=seconds
          ),
        )
    except errors.InputError as error:
      say(problem=str(error))
      return
    except errors.DiskError as error:
      say(full=str(error))
      return
    say(built=number)


def _listen(numbers: queue.SimpleQueue) -> None:
  for line in sys.stdin:
    numbers.put(int(line))
  os._exit(0)
