"""The order of training data is a function of (seed, step) alone."""

import json

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.data import held_out, loader


def _take(config, count, *, start=0, rows=None):
  with loader.train_loader(config, rows=rows) as batches:
    batches.seek(start)
    return np.stack([next(batches).audio for _ in range(count)])


def _numbers(batches):
  """Which record of the `numbered` dataset each example is from."""
  return np.rint(batches[..., 0].max(axis=-1) * 32_768).astype(int) - 1


def test_a_batch_is_float32_within_full_scale(voices, make_config):
  config = make_config(voices, **{"data.gain_db": (-12.0, 30.0)})
  batches = _take(config, 3)
  assert batches.shape == (3, 4, 24_000, 1)
  assert batches.dtype == np.float32
  assert 0 < np.abs(batches).max() <= 1


@pytest.mark.parametrize("shares", [[(0, 1), (2, 3)], [(0, 3), (2,), (1,)]])
def test_processes_read_their_rows_of_the_one_batch(
  voices, numbered, make_config, shares
):
  config = make_config(f"{voices}:0.7,{numbered}:0.3")
  whole = _take(config, 5)
  for rows in shares:
    np.testing.assert_array_equal(
      _take(config, 5, rows=rows), whole[:, list(rows)]
    )


def test_seek_gives_the_batch_of_that_step(voices, make_config):
  config = make_config(voices)
  batches = _take(config, 6)
  with loader.train_loader(config) as again:
    for step in (4, 0, 5, 2):
      again.seek(step)
      np.testing.assert_array_equal(next(again).audio, batches[step])
      assert again.step == step + 1
    again.seek(4)
    np.testing.assert_array_equal(next(again).audio, batches[4])
    np.testing.assert_array_equal(next(again).audio, batches[5])


def test_a_far_step_is_as_close_as_the_first(voices, make_config):
  config = make_config(voices)
  assert _take(config, 1, start=10_000_000).shape == (1, 4, 24_000, 1)


def test_the_state_is_json_and_resumes(voices, make_config):
  config = make_config(voices)
  with loader.train_loader(config) as batches:
    next(batches), next(batches)
    state = json.loads(json.dumps(batches.state()))
    expected = next(batches).audio
  np.testing.assert_array_equal(
    _take(config, 1, start=state["step"])[0], expected
  )


def test_a_closed_loader_goes_on_where_it_was(voices, make_config):
  config = make_config(voices)
  batches = loader.train_loader(config)
  first = next(batches).audio
  batches.close()
  batches.close()
  rest = next(batches).audio
  batches.close()
  np.testing.assert_array_equal(np.stack([first, rest]), _take(config, 2))


def test_another_seed_is_another_order(voices, make_config):
  first = _take(make_config(voices), 2)
  np.testing.assert_array_equal(first, _take(make_config(voices), 2))
  assert not np.array_equal(first, _take(make_config(voices, seed=1), 2))


def test_threads_and_prefetching_change_nothing(voices, make_config):
  few = make_config(voices)
  many = make_config(
    voices, **{"data.num_threads": 8, "data.prefetch_batches": 16}
  )
  np.testing.assert_array_equal(_take(few, 4), _take(many, 4))


def test_every_epoch_has_every_record_once_in_another_order(
  numbered, make_config
):
  epochs = _numbers(_take(make_config(numbered), 9)).reshape(3, 12)
  np.testing.assert_array_equal(np.sort(epochs), [range(12)] * 3)
  assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_same_record_is_cropped_anew_each_time(voices, make_config):
  batches = _take(make_config(voices), 10).reshape(40, -1)
  assert len({example.tobytes() for example in batches}) == 40


def test_sources_are_mixed_in_the_proportion_of_their_weights(
  numbered, voices, make_config
):
  config = make_config(f"{numbered}:3,{voices}:1")
  batches = _take(config, 10)
  constant = np.ptp(batches, axis=2) < 12 / 32_768
  assert constant.sum() == 30


def test_two_sources_of_the_same_folder_are_shuffled_apart(
  numbered, make_config
):
  config = make_config(f"{numbered},{numbered}")
  numbers = _numbers(_take(config, 6)).reshape(12, 2)
  assert not np.array_equal(numbers[:, 0], numbers[:, 1])


@pytest.mark.slow
def test_worker_processes_change_nothing(voices, make_config):
  alone = make_config(voices)
  helped = make_config(voices, **{"data.num_workers": 2})
  np.testing.assert_array_equal(
    _take(helped, 5, start=2), _take(alone, 5, start=2)
  )


def test_no_sources_says_how_to_make_one(make_config):
  for use in (loader.train_loader, held_out.held_out):
    with pytest.raises(errors.InputError, match=r"prepare --dataset=synthetic"):
      use(make_config(""))
