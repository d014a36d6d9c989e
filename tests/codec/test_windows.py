"""Laws of running long inputs through windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax.codec import windows


@given(st.integers(0, 2_000), st.integers(0, 40), st.integers(1, 200))
@settings(max_examples=150, deadline=None)
def test_every_frame_is_kept_once_with_its_context(frames, context, extra):
  window_frames = context + extra
  planned = windows.plan(
    frames, context_frames=context, window_frames=window_frames
  )
  kept = [frame for w in planned for frame in range(w.keep, w.stop)]
  assert kept == list(range(frames))
  shapes = windows.lengths(window_frames=window_frames)
  for window in planned:
    assert window.length in shapes
    assert window.start >= 0
    assert window.stop <= window.start + window.length
    assert window.start == 0 or window.keep - window.start >= context
  assert len({window.length for window in planned}) <= 1


@given(st.integers(1, 500), st.integers(0, 9), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_windows_of_a_causal_function_equal_the_whole(frames, context, extra):
  def moving_sum(x):
    padded = np.concatenate([np.zeros((context, *x.shape[1:]), x.dtype), x])
    return sum(padded[i : i + len(x)] for i in range(context + 1))

  x = np.random.default_rng(frames).integers(-99, 99, (frames, 2))
  result = windows.apply(
    moving_sum, x, context_frames=context, window_frames=context + extra
  )
  np.testing.assert_array_equal(result, moving_sum(x))


def test_a_window_that_is_all_context_is_refused():
  with pytest.raises(ValueError, match="must exceed 17"):
    windows.plan(100, context_frames=17, window_frames=17)
