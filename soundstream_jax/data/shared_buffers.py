"""Shared buffers: batches come from worker processes in memory that is kept.

Grain hands each batch over in shared memory of its own. The system clears such
memory page by page when a worker first writes to it, and takes it back after
use: ten times the cost of the copy itself. Here every worker has a few buffers
for batches, cleared once. It fills one that is free and hands over its number;
the parent copies the batch and frees the buffer. A batch that finds all buffers
taken goes Grain's way, so nobody ever waits for a buffer.
"""

import dataclasses
import math
from collections.abc import Sequence
from multiprocessing import shared_memory, util

import numpy as np

from soundstream_jax.data import batch as batch_lib

# Of each worker. On their way are at most: two that wait in the worker, one in
# Grain's queue, two that Grain holds in the parent, one that is being copied.
BUFFERS_PER_WORKER = 6
_ALIGNMENT = 64  # bytes, a line of the cache


@dataclasses.dataclass(frozen=True)
class Buffer:
  """Number of the buffer that holds a batch; Grain's queue carries it instead."""

  number: int


class BufferPool:
  """Shared memory for batches of one shape; a pickle of it opens it again.

  It starts with a byte per buffer: 1 from when a worker has filled the buffer
  until the parent has copied it. Whoever made it closes it, after the workers
  have ended.
  """

  def __init__(self, example: batch_lib.Batch, rows: int, num_workers: int):
    """Args: example is one of all those to come, as to shapes and types."""
    self._layout = tuple(
      None if field is None else ((rows, *np.shape(field)), field.dtype.str)
      for field in example
    )
    self._num_workers = num_workers
    self._count = BUFFERS_PER_WORKER * num_workers
    sizes = [
      _aligned(math.prod(field[0]) * np.dtype(field[1]).itemsize)
      for field in self._layout
      if field
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
  ) -> Buffer | batch_lib.Batch:
    """(step, its examples) -> where they lie, as a batch; in a worker."""
    step, examples = numbered
    # Workers take the steps in turns: no two of them share a buffer.
    first = step % self._num_workers * BUFFERS_PER_WORKER
    for number in range(first, first + BUFFERS_PER_WORKER):
      if not self._memory.buf[number]:
        batch_lib.stack(examples, out=self._batch(number))
        self._memory.buf[number] = 1
        return Buffer(number)
    return batch_lib.stack(examples)

  def take(self, handed: Buffer | batch_lib.Batch) -> batch_lib.Batch:
    """Returns a batch in memory of its own, and frees the buffer."""
    if not isinstance(handed, Buffer):
      return _copied(handed)
    batch = _copied(self._batch(handed.number))
    self._memory.buf[handed.number] = 0
    return batch

  def _batch(self, number: int) -> batch_lib.Batch:
    """Returns the arrays of a buffer; memory in use cannot be closed."""
    at, fields = self._start + number * self._size, []
    for field in self._layout:
      if field is None:
        fields.append(None)
        continue
      array = np.ndarray(*field, buffer=self._memory.buf, offset=at)
      at += _aligned(array.nbytes)
      fields.append(array)
    return batch_lib.Batch(*fields)


def _remove(memory: shared_memory.SharedMemory) -> None:
  memory.close()
  memory.unlink()


def _copied(batch: batch_lib.Batch) -> batch_lib.Batch:
  # Also of what Grain hands over: its memory goes when the array does, and on
  # a CPU jax may use an array's memory in place.
  return batch_lib.Batch(
    *(None if field is None else np.array(field) for field in batch)
  )


def _aligned(num_bytes: int) -> int:
  return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
