"""Encodes all shards of a plan: on threads, beside other processes.

Whoever works on a shard holds its lock, which goes with the process however
that ends. So any number of processes, on any machines that share the folder,
take shards until all are complete. Where a file system has no locks two may
encode the same shard: to the same bytes.
"""

import contextlib
import os
import pathlib
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from soundstream_jax import errors, folder_lock
from soundstream_jax.codec import offline, trained_model
from soundstream_jax.codec.stream import encoder as encoder_lib
from soundstream_jax.codec.tokens import index, inputs, shards
from soundstream_jax.codec.tokens import plan as plan_lib

# Threads for each device that is no CPU: one reads while another computes.
_THREADS_PER_DEVICE = 4
# Between two looks at what others have done.
_WAIT_SECONDS = 1.0


class _Ended(Exception):
  """Another thread has failed, or the folder is finished."""


def default_threads() -> int:
  """Returns how many shards are encoded at once: all cores, all devices."""
  devices = jax.local_devices()
  cores = len(os.sched_getaffinity(0))
  if devices[0].platform != "cpu":
    cores = min(cores, _THREADS_PER_DEVICE * len(devices))
  return max(cores, len(devices))


def run(
  out: pathlib.Path,
  plan: plan_lib.Plan,
  *,
  data: inputs.Input,
  model: trained_model.TrainedModel,
  how: shards.How,
  threads: int,
  told: shards.Told,
  waiting: Callable[[int], None],
) -> None:
  """Returns when all shards are complete, or the folder is finished.

  Args:
    threads: that encode a shard each.
    told: called with the work that was done here, and with the items alone of
      shards that others completed.
    waiting: called now and then with the number of shards that only others
      work on.

  Raises:
    DiskError, InputError: the folder cannot be written to.
  """
  work = _Work(out, plan, data, how)
  left = list(range(len(plan.shards)))
  models = _placed(model, min(threads, len(left)))
  while left and not index.complete(out):
    theirs = [n for n in left if n not in work.built and shards.done(out, n)]
    if theirs:
      told(shards.Done(items=sum(plan.shards[n].count for n in theirs)))
    left = [n for n in left if n not in work.built and n not in theirs]
    before = len(work.built)
    if left:
      for done in work.all_of(_turned(left), models[: len(left)]):
        told(done)
      if len(work.built) == before:
        waiting(len(left))
        time.sleep(_WAIT_SECONDS)


class _Work:
  """A process's part of the work.

  Attributes:
    built: numbers of the shards that it made.
  """

  def __init__(
    self,
    out: pathlib.Path,
    plan: plan_lib.Plan,
    data: inputs.Input,
    how: shards.How,
  ):
    self.built: set[int] = set()
    self._out, self._plan, self._data, self._how = out, plan, data, how
    self._warm: dict[jax.Device, threading.Lock] = {}
    self._events = queue.SimpleQueue()
    self._stop = threading.Event()

  def all_of(
    self, numbers: Sequence[int], models: Sequence[trained_model.TrainedModel]
  ) -> Iterator[shards.Done]:
    """Goes through shards once, on a thread per model; yields what is done.

    A shard that others hold is passed over.

    Raises:
      DiskError, InputError: as `shards.build`; what is being encoded is left.
    """
    waiting = queue.SimpleQueue()
    for number in numbers:
      waiting.put(number)
    threads = [
      threading.Thread(target=self._thread, args=(waiting, model))
      for model in models
    ]
    for thread in threads:
      thread.start()
    running = len(threads)
    try:
      while running:
        event = self._events.get()
        if isinstance(event, BaseException):
          raise event
        if event is None:
          running -= 1
        else:
          yield event
    finally:
      self._stop.set()
      for thread in threads:
        thread.join()
      self._stop.clear()

  def _thread(
    self, waiting: queue.SimpleQueue, model: trained_model.TrainedModel
  ) -> None:
    try:
      # What streams make on their way is made where their model is.
      with jax.default_device(model.device):
        while True:
          self._shard(waiting.get_nowait(), model)
    except queue.Empty:
      self._events.put(None)
    except _Ended:
      self._events.put(None)
    except BaseException as error:
      self._events.put(error)

  def _shard(self, number: int, model: trained_model.TrainedModel) -> None:
    """Encodes a shard, unless others do so or have done so."""
    with contextlib.ExitStack() as stack:
      with errors.writing("tokens", self._out):
        try:
          stack.enter_context(
            folder_lock.held(
              self._out / plan_lib.FOLDER / f"{number:05d}.lock", what=""
            )
          )
        except errors.InputError:
          return
        _look_again(self._out)
      if index.complete(self._out):
        raise _Ended
      if shards.done(self._out, number):
        return
      self._compile(model)
      try:
        shards.build(
          self._out,
          self._plan,
          number,
          data=self._data,
          model=model,
          how=self._how,
          told=self._told,
        )
      except (errors.DiskError, errors.InputError):
        # Where there are no locks: others finished, and removed our file.
        if index.complete(self._out):
          raise _Ended from None
        raise
      self.built.add(number)

  def _compile(self, model: trained_model.TrainedModel) -> None:
    """Compiles for a device before several of its threads would."""
    with self._warm.setdefault(model.device, threading.Lock()):
      encoder = encoder_lib.StreamEncoder(
        model, block_frames=offline.BLOCK_FRAMES, denoise=self._how.denoise
      )
      encoder.push(np.zeros(1, np.float32))
      encoder.flush()

  def _told(self, done: shards.Done) -> None:
    if self._stop.is_set():
      raise _Ended
    self._events.put(done)


def _placed(
  model: trained_model.TrainedModel, threads: int
) -> list[trained_model.TrainedModel]:
  """Returns a model for each thread, of the devices in turn."""
  devices = jax.local_devices()[:threads]
  models = [
    model if device == model.device else model.on(device) for device in devices
  ]
  return [models[i % len(models)] for i in range(threads)]


def _turned(numbers: Sequence[int]) -> list[int]:
  """Returns them from some place on: processes should not meet."""
  start = random.randrange(len(numbers))
  return [*numbers[start:], *numbers[:start]]


def _look_again(out: pathlib.Path) -> None:
  """Has a network's file system show what others have done.

  It may answer from what it saw half a minute ago, until the folder is changed
  from here.
  """
  for folder in (out, out / plan_lib.FOLDER):
    with contextlib.suppress(FileNotFoundError):
      place = folder / f".{uuid.uuid4().hex}.partial"
      os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
      place.unlink()
