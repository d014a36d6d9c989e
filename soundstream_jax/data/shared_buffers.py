"""Batches from worker processes to their parent, in memory that is kept.

Grain hands each batch over in shared memory of its own. The system clears such
memory page by page when a worker first writes to it, and takes it back after
use: ten times the cost of the copy itself. Here every worker has a few places
for batches, cleared once. It fills one that is free and hands over its number;
the parent copies the batch and frees the place. A batch that finds all places
taken goes Grain's way, so nobody ever waits for a place.
"""

import dataclasses
import math
from collections.abc import Sequence
from multiprocessing import shared_memory, util

import numpy as np

from soundstream_jax.data import batch as batch_lib

# Of each worker. On their way are at most: two that wait in the worker, one in
# Grain's queue, two that Grain holds in the parent, one that is being copied.
PLACES = 6
_ALIGNMENT = 64  # bytes, a line of the cache


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a batch lies; what goes through Grain's queue instead of it."""

  number: int


class Places:
  """Shared memory for batches of one shape; a pickle of it opens it again.

  It starts with a byte per place: 1 from when a worker has filled the place
  until the parent has copied it. Whoever made it closes it, after the workers
  have ended.
  """

  def __init__(self, example: batch_lib.Batch, rows: int, num_workers: int):
    """Args: example is one of all those to come, as to shapes and types."""
    self._layout = tuple(
      None if part is None else ((rows, *np.shape(part)), part.dtype.str)
      for part in example
    )
    self._num_workers = num_workers
    self._count = PLACES * num_workers
    sizes = [
      _aligned(math.prod(part[0]) * np.dtype(part[1]).itemsize)
      for part in self._layout
      if part
    ]
    self._start, self._size = _aligned(self._count), sum(sizes)
    self._memory = shared_memory.SharedMemory(
      create=True, size=self._start + self._count * self._size
    )
    # If nobody does: as Grain ends its workers at exit, and then this.
    self.close = util.Finalize(self, _remove, (self._memory,), exitpriority=0)

  def __getstate__(self):
    state = {k: v for k, v in self.__dict__.items() if k != "close"}
    return state | {"_memory": self._memory.name}

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._memory = shared_memory.SharedMemory(state["_memory"])

  def fill(
    self, numbered: tuple[int, Sequence[batch_lib.Batch]]
  ) -> Place | batch_lib.Batch:
    """(step, its examples) -> where they lie, as a batch; in a worker."""
    step, examples = numbered
    # Workers take the steps in turns: no two of them share a place.
    first = step % self._num_workers * PLACES
    for number in range(first, first + PLACES):
      if not self._memory.buf[number]:
        batch_lib.stack(examples, out=self._batch(number))
        self._memory.buf[number] = 1
        return Place(number)
    return batch_lib.stack(examples)

  def take(self, handed: Place | batch_lib.Batch) -> batch_lib.Batch:
    """Returns a batch in memory of its own, and frees the place."""
    if not isinstance(handed, Place):
      return _copied(handed)
    batch = _copied(self._batch(handed.number))
    self._memory.buf[handed.number] = 0
    return batch

  def _batch(self, number: int) -> batch_lib.Batch:
    """Returns the arrays of a place; memory in use cannot be closed."""
    at, parts = self._start + number * self._size, []
    for part in self._layout:
      if part is None:
        parts.append(None)
        continue
      array = np.ndarray(*part, buffer=self._memory.buf, offset=at)
      at += _aligned(array.nbytes)
      parts.append(array)
    return batch_lib.Batch(*parts)


def _remove(memory: shared_memory.SharedMemory) -> None:
  memory.close()
  memory.unlink()


def _copied(batch: batch_lib.Batch) -> batch_lib.Batch:
  # Also of what Grain hands over: its memory goes when the array does, and on
  # a CPU jax may use an array's memory in place.
  return batch_lib.Batch(
    *(None if part is None else np.array(part) for part in batch)
  )


def _aligned(num_bytes: int) -> int:
  return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
