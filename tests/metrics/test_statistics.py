"""Intervals and paired differences, against scipy."""

import numpy as np
import pytest
from scipy import stats

from soundstream_jax.metrics import statistics


def values(count=20, seed=0):
  return np.random.default_rng(seed).normal(3.0, 0.5, size=count)


@pytest.mark.parametrize("count", [2, 3, 12, 500])
def test_an_interval_is_students(count):
  found = statistics.interval(values(count))
  low, high = stats.t.interval(
    0.95, count - 1, np.mean(values(count)), stats.sem(values(count))
  )
  np.testing.assert_allclose(
    [found.mean, found.low, found.high],
    [np.mean(values(count)), low, high],
    rtol=1e-9,
  )
  assert (found.count, found.missing) == (count, 0)


def test_it_holds_the_true_mean_19_times_of_20():
  rng = np.random.default_rng(1)
  held = [
    found.low <= 3.0 <= found.high
    for found in (
      statistics.interval(rng.normal(3.0, 1.0, size=8)) for _ in range(2000)
    )
  ]
  assert abs(np.mean(held) - 0.95) < 0.015


def test_missing_values_are_left_out_and_counted():
  some = [1.0, None, 2.0, np.nan, 4.0]
  found = statistics.interval(some)
  assert (found.count, found.missing) == (3, 2)
  assert found == statistics.Interval(
    **{**vars(statistics.interval([1.0, 2.0, 4.0])), "missing": 2}
  )


def test_of_one_clip_the_mean_may_lie_anywhere():
  found = statistics.interval([2.5, None])
  assert found == statistics.Interval(2.5, -np.inf, np.inf, 1, 1)


@pytest.mark.parametrize("nothing", [[], [None, np.nan]])
def test_of_no_clip_there_is_nothing(nothing):
  found = statistics.interval(nothing)
  assert np.isnan([found.mean, found.low, found.high]).all()
  assert (found.count, found.missing) == (0, len(nothing))


def test_a_paired_difference_is_scipys_paired_test():
  a, b = values(seed=1), values(seed=2)
  found = statistics.paired(a, b)
  expected = stats.ttest_rel(a, b).confidence_interval(0.95)
  np.testing.assert_allclose(
    [found.low, found.high], [expected.low, expected.high], rtol=1e-9
  )
  np.testing.assert_allclose(found.mean, np.mean(a) - np.mean(b))


def test_clips_that_only_one_has_a_value_of_do_not_count():
  a, b = [3.0, None, 5.0, 7.0, 1.0], [1.0, 2.0, np.nan, 4.0, 0.5]
  found = statistics.paired(a, b)
  assert (found.count, found.missing) == (3, 2)
  assert found.mean == pytest.approx(np.mean([2.0, 3.0, 0.5]))


def test_paired_is_narrower_where_clips_have_much_in_common():
  """A codec 0.1 better on every clip, of clips that differ by 0.5."""
  clips = values(36)
  rng = np.random.default_rng(5)
  a = clips + 0.1 + rng.normal(0, 0.05, size=36)
  b = clips + rng.normal(0, 0.05, size=36)
  paired = statistics.paired(a, b)
  assert 0 < paired.low < 0.1 < paired.high
  one, other = statistics.interval(a), statistics.interval(b)
  assert one.low < other.mean  # apart, they say nothing
  assert paired.high - paired.low < 0.25 * (one.high - one.low)


def test_a_difference_turns_its_sign_with_its_sides():
  a, b = values(seed=1), values(seed=2)
  there, back = statistics.paired(a, b), statistics.paired(b, a)
  np.testing.assert_allclose(
    [there.mean, there.low, there.high], [-back.mean, -back.high, -back.low]
  )


def test_lists_of_other_lengths_are_no_pairs():
  with pytest.raises(ValueError, match="3 values cannot be paired with 2"):
    statistics.paired([1, 2, 3], [1, 2])
