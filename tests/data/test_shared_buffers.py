"""A batch arrives as it was handed over, and memory is used again."""

import pickle
from multiprocessing import shared_memory

import numpy as np
import pytest

from soundstream_jax.data import batch as batch_lib
from soundstream_jax.data import shared_buffers

SAMPLES = 50  # 200 bytes, no multiple of what buffers are aligned to


def _examples(step, *, fields=3, rows=3):
  rng = np.random.default_rng(step)
  return [
    batch_lib.Batch(
      *(
        rng.normal(size=(SAMPLES, 1)).astype(np.float32),
        rng.normal(size=(SAMPLES, 1)).astype(np.float32),
        np.bool_(rng.random() < 0.5),
      )[:fields]
    )
    for _ in range(rows)
  ]


@pytest.fixture
def pool():
  pool = shared_buffers.BufferPool(_examples(0)[0], 3, num_workers=2)
  yield pool
  pool.close()


def _assert_same(batch, expected):
  for field, other in zip(batch, batch_lib.stack(expected), strict=True):
    assert field.dtype == other.dtype
    np.testing.assert_array_equal(field, other)


def test_what_is_taken_is_what_was_filled_in(pool):
  handed = [pool.fill((step, _examples(step))) for step in range(8)]
  for step, buffer in enumerate(handed):
    _assert_same(pool.take(buffer), _examples(step))


@pytest.mark.parametrize("fields", [1, 2])
def test_fields_that_are_absent_stay_absent(fields):
  pool = shared_buffers.BufferPool(
    _examples(0, fields=fields)[0], 3, num_workers=1
  )
  batch = pool.take(pool.fill((0, _examples(0, fields=fields))))
  pool.close()
  expected = batch_lib.stack(_examples(0, fields=fields))
  assert [field is None for field in batch] == [p is None for p in expected]
  np.testing.assert_array_equal(batch.audio, expected.audio)


def test_a_batch_that_was_taken_stays_when_its_buffer_is_filled_again(pool):
  buffer = pool.fill((0, _examples(0)))
  first = pool.take(buffer)
  assert pool.fill((2, _examples(2))) == buffer
  _assert_same(first, _examples(0))


def test_without_a_free_buffer_a_batch_is_handed_over_itself(pool):
  handed = [
    pool.fill((0, _examples(k)))
    for k in range(shared_buffers.BUFFERS_PER_WORKER)
  ]
  assert len(set(handed)) == shared_buffers.BUFFERS_PER_WORKER
  _assert_same(pool.fill((0, _examples(99))), _examples(99))
  _assert_same(pool.take(pool.fill((0, _examples(99)))), _examples(99))
  for k, buffer in enumerate(handed):
    _assert_same(pool.take(buffer), _examples(k))


def test_no_two_workers_share_a_buffer(pool):
  mine, others = (
    {pool.fill((step, _examples(0))) for step in range(start, 12, 2)}
    for start in (0, 1)
  )
  assert len(mine) == len(others) == shared_buffers.BUFFERS_PER_WORKER
  assert not mine & others


def test_a_pickle_opens_the_same_memory(pool):
  again = pickle.loads(pickle.dumps(pool))
  _assert_same(pool.take(again.fill((5, _examples(5)))), _examples(5))


def test_closing_gives_the_memory_back():
  pool = shared_buffers.BufferPool(_examples(0)[0], 3, num_workers=1)
  pool.take(pool.fill((0, _examples(0))))
  name = pickle.loads(pickle.dumps(pool.__getstate__()))["_memory"]
  pool.close()
  with pytest.raises(FileNotFoundError):
    shared_memory.SharedMemory(name)
