"""Laws of crop and gain, over many random draws."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax.data import transforms


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_crop_is_a_whole_part_or_the_whole_record_in_zeros(
  num_samples, crop_samples, seed
):
  audio = np.arange(1, num_samples + 1, dtype=np.int16)
  rng = np.random.default_rng(seed)
  crop = transforms.Crop(crop_samples)({"audio": audio}, rng)
  assert crop.shape == (crop_samples,)
  assert crop.dtype == np.int16
  kept = crop[crop != 0]
  assert len(kept) == min(num_samples, crop_samples)
  np.testing.assert_array_equal(np.diff(kept), 1)
  np.testing.assert_array_equal(np.diff(np.flatnonzero(crop)), 1)


def test_every_place_is_cropped_and_padded_at():
  rng = np.random.default_rng(0)
  long = {"audio": np.arange(10, dtype=np.int16)}
  short = {"audio": np.ones(7, np.int16)}
  crop = transforms.Crop(8)
  assert {crop(long, rng)[0] for _ in range(100)} == {0, 1, 2}
  assert {int(np.argmax(crop(short, rng))) for _ in range(100)} == {0, 1}


@given(st.integers(1, 32_768), st.floats(-60, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_gain_never_goes_beyond_full_scale(peak, gain_db, seed):
  pcm = np.array([0, 1, -peak], np.int16)
  rng = np.random.default_rng(seed)
  audio = transforms.Gain(gain_db, gain_db)(pcm, rng)
  assert audio.shape == (3, 1)
  assert audio.dtype == np.float32
  assert np.abs(audio).max() <= 1
  expected = min(1.0, peak / 32_768 * 10 ** (gain_db / 20))
  np.testing.assert_allclose(np.abs(audio).max(), expected, rtol=1e-6)


def test_no_gain_is_exact_and_silence_stays_silent():
  rng = np.random.default_rng(0)
  pcm = np.array([-32_768, 32_767, 5], np.int16)
  audio = transforms.Gain(0, 0)(pcm, rng)
  np.testing.assert_array_equal(audio[:, 0] * 32_768, pcm)
  silence = transforms.Gain(-12, 3)(np.zeros(4, np.int16), rng)
  np.testing.assert_array_equal(silence, np.zeros((4, 1)))


def test_gain_is_uniform_in_decibels():
  rng = np.random.default_rng(0)
  pcm = np.full(1, 8_192, np.int16)
  gain = transforms.Gain(-12, 3)
  drawn_db = [20 * np.log10(4 * gain(pcm, rng)[0, 0]) for _ in range(2_000)]
  shares, _ = np.histogram(drawn_db, bins=5, range=(-12, 3))
  assert shares.sum() == 2_000
  assert shares.min() > 300
