"""Worker processes that measure: one metric is slow, and clips are many.

Each is a fresh interpreter without jax, so that the model's process alone has
the accelerator. A worker ends with its parent, however that ends, and signals
of a terminal come to the parent alone. What a worker cannot survive, such as a
crash in a metric's library, costs one clip's value and not the evaluation.
"""

import collections
import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from multiprocessing import connection as connection_lib

from soundstream_jax import errors, metrics, os_signals
from soundstream_jax.evaluate.measuring import tasks

# Tasks that a worker has at hand, so that it never waits for the next.
_AT_HAND = 2
# A worker is there for one clip at a time: libraries need no threads of theirs.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def default_workers() -> int:
  """Returns the cores that this process may use."""
  return len(os.sched_getaffinity(0))


def table(own_metrics: str) -> dict[str, metrics.Metric]:
  """Returns all metrics: those of the package, and of a user's file.

  Args:
    own_metrics: path of the file; '' is none.

  Raises:
    InputError: it cannot be used.
  """
  found = dict(metrics.METRICS)
  if own_metrics:
    from soundstream_jax.metrics import own

    found |= own.load(own_metrics)
  return found


def perform(
  todo: Iterable[tasks.Task], *, workers: int, own_metrics: str
) -> Iterator[tasks.Result]:
  """Yields results as they come, in any order.

  Args:
    todo: taken one by one, as workers are free for them.
    workers: processes; 0 measures in this one.
    own_metrics: path of a user's metrics; ''.

  Raises:
    DiskError, InputError: a sound cannot be written.
    RuntimeError: workers do not start, or have a bug.
  """
  if not workers:
    every = table(own_metrics)
    for task in todo:
      yield tasks.perform(task, every)
    return
  pool = _Pool(workers, own_metrics)
  try:
    yield from pool.perform(todo)
  finally:
    pool.close()


class _Worker:
  """A process and its pipe."""

  def __init__(self, own_metrics: str):
    context = multiprocessing.get_context("spawn")
    self.pipe, theirs = context.Pipe()
    self.process = context.Process(
      target=_work, args=(theirs, own_metrics), daemon=True
    )
    self.waiting: collections.deque[tasks.Task] = collections.deque()
    self.began = False
    threads = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
      with os_signals.deaf_children():
        self.process.start()
    finally:
      for name, value in threads.items():
        if value is None:
          del os.environ[name]
        else:
          os.environ[name] = value
    theirs.close()

  def give(self, task: tasks.Task) -> None:
    self.waiting.append(task)
    with contextlib.suppress(OSError):  # it has ended, which its pipe shows
      self.pipe.send(task)

  def end(self) -> None:
    self.process.kill()
    self.process.join()
    self.pipe.close()


class _Pool:
  def __init__(self, count: int, own_metrics: str):
    self._count, self._own_metrics = count, own_metrics
    self._workers: list[_Worker] = []

  def perform(self, todo: Iterable[tasks.Task]) -> Iterator[tasks.Result]:
    todo, again = iter(todo), collections.deque()
    more = True
    while True:
      while (worker := self._free(bool(again) or more)) is not None:
        task = again.popleft() if again else next(todo, None)
        if task is None:
          more = False
          break
        worker.give(task)
        yield from self._heard(again, timeout=0)
      if not again and not more and not any(w.waiting for w in self._workers):
        return
      yield from self._heard(again, timeout=None)

  def close(self) -> None:
    for worker in self._workers:
      worker.end()
    self._workers.clear()

  def _free(self, wanted: bool) -> _Worker | None:
    """Returns a worker for one more task, a new one where it may be."""
    if not wanted:
      return None
    idle = min(self._workers, key=lambda w: len(w.waiting), default=None)
    if idle is not None and not idle.waiting:
      return idle
    if len(self._workers) < self._count:
      self._workers.append(_Worker(self._own_metrics))
      return self._workers[-1]
    return idle if len(idle.waiting) < _AT_HAND else None

  def _heard(self, again, *, timeout) -> Iterator[tasks.Result]:
    """Yields what workers say; what a dead one had at hand goes to `again`."""
    pipes = {worker.pipe: worker for worker in self._workers if worker.waiting}
    for pipe in connection_lib.wait(list(pipes), timeout):
      worker = pipes[pipe]
      try:
        said = pipe.recv()
      except (EOFError, OSError):
        yield self._lost(worker, again)
        continue
      if said == "ready":
        worker.began = True
        continue
      worker.waiting.popleft()
      if isinstance(said, tasks.Result):
        yield said
      else:
        raise _ERRORS[said[0]](said[1])

  def _lost(self, worker: _Worker, again) -> tasks.Result:
    worker.process.join()
    code = worker.process.exitcode
    self._workers.remove(worker)
    worker.pipe.close()
    how = f"exit code {code}"
    if -code in set(signal.Signals):
      how = f"killed by {signal.Signals(-code).name}"
    if not worker.began:
      raise RuntimeError(f"a worker process does not start ({how})")
    task = worker.waiting.popleft()
    again.extend(worker.waiting)
    return tasks.failed(task, f"the process that measured it ended ({how})")


_ERRORS = {
  "input": errors.InputError,
  "disk": errors.DiskError,
  "bug": RuntimeError,
}


def _work(pipe, own_metrics: str) -> None:
  """Runs in a worker: does tasks until its parent is gone."""
  for number in os_signals.STOPS:
    signal.signal(number, signal.SIG_IGN)
  os_signals.hear()
  warnings.simplefilter("ignore")  # of libraries, about each clip
  waiting: queue.SimpleQueue[tasks.Task] = queue.SimpleQueue()
  threading.Thread(target=_read, args=(pipe, waiting), daemon=True).start()
  try:
    every = table(own_metrics)
    pipe.send("ready")
    while True:
      pipe.send(_outcome(waiting.get(), every))
  except OSError:  # the parent is gone
    os._exit(1)


def _outcome(task: tasks.Task, every):
  try:
    return tasks.perform(task, every)
  except errors.InputError as error:
    return "input", str(error)
  except errors.DiskError as error:
    return "disk", str(error)
  except Exception:
    return "bug", traceback.format_exc()


def _read(pipe, waiting) -> None:
  """Takes tasks as they come; ends the process with its parent."""
  while True:
    try:
      waiting.put(pipe.recv())
    except (EOFError, OSError):
      os._exit(1)
