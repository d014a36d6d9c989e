"""A batch arrives as it was handed over, and memory is used again."""

import pickle
from multiprocessing import shared_memory

import numpy as np
import pytest

from soundstream_jax.data import batch as batch_lib
from soundstream_jax.data import shared_buffers

SAMPLES = 50  # 200 bytes, no multiple of what places are aligned to


def _examples(step, *, parts=3, rows=3):
  rng = np.random.default_rng(step)
  return [
    batch_lib.Batch(
      *(
        rng.normal(size=(SAMPLES, 1)).astype(np.float32),
        rng.normal(size=(SAMPLES, 1)).astype(np.float32),
        np.bool_(rng.random() < 0.5),
      )[:parts]
    )
    for _ in range(rows)
  ]


@pytest.fixture
def places():
  places = shared_buffers.Places(_examples(0)[0], 3, num_workers=2)
  yield places
  places.close()


def _assert_same(batch, expected):
  for part, other in zip(batch, batch_lib.stack(expected), strict=True):
    assert part.dtype == other.dtype
    np.testing.assert_array_equal(part, other)


def test_what_is_taken_is_what_was_filled_in(places):
  handed = [places.fill((step, _examples(step))) for step in range(8)]
  for step, place in enumerate(handed):
    _assert_same(places.take(place), _examples(step))


@pytest.mark.parametrize("parts", [1, 2])
def test_parts_that_are_absent_stay_absent(parts):
  places = shared_buffers.Places(_examples(0, parts=parts)[0], 3, num_workers=1)
  batch = places.take(places.fill((0, _examples(0, parts=parts))))
  places.close()
  expected = batch_lib.stack(_examples(0, parts=parts))
  assert [part is None for part in batch] == [p is None for p in expected]
  np.testing.assert_array_equal(batch.audio, expected.audio)


def test_a_batch_that_was_taken_stays_when_its_place_is_filled_again(places):
  place = places.fill((0, _examples(0)))
  first = places.take(place)
  assert places.fill((2, _examples(2))) == place
  _assert_same(first, _examples(0))


def test_without_a_free_place_a_batch_is_handed_over_itself(places):
  handed = [
    places.fill((0, _examples(k))) for k in range(shared_buffers.PLACES)
  ]
  assert len(set(handed)) == shared_buffers.PLACES
  _assert_same(places.fill((0, _examples(99))), _examples(99))
  _assert_same(places.take(places.fill((0, _examples(99)))), _examples(99))
  for k, place in enumerate(handed):
    _assert_same(places.take(place), _examples(k))


def test_no_two_workers_share_a_place(places):
  mine, others = (
    {places.fill((step, _examples(0))) for step in range(start, 12, 2)}
    for start in (0, 1)
  )
  assert len(mine) == len(others) == shared_buffers.PLACES
  assert not mine & others


def test_a_pickle_opens_the_same_memory(places):
  again = pickle.loads(pickle.dumps(places))
  _assert_same(places.take(again.fill((5, _examples(5)))), _examples(5))


def test_closing_gives_the_memory_back():
  places = shared_buffers.Places(_examples(0)[0], 3, num_workers=1)
  places.take(places.fill((0, _examples(0))))
  name = pickle.loads(pickle.dumps(places.__getstate__()))["_memory"]
  places.close()
  with pytest.raises(FileNotFoundError):
    shared_memory.SharedMemory(name)
