"""Measurements of known sounds: tones, filtered noise, clipped waves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax.data_pipelines.audio import measure

RATE_HZ = 24_000


def _noise(cutoff_hz=None, *, level=3_000, seconds=10.0, seed=0):
  noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
  if cutoff_hz:
    spectrum = np.fft.rfft(noise)
    spectrum[round(cutoff_hz * seconds) :] = 0
    noise = np.fft.irfft(spectrum, len(noise))
  return np.rint(level * noise / noise.std()).astype(np.int16)


@pytest.mark.parametrize("cutoff_hz", [2_000, 4_000, 8_000, 11_000])
@pytest.mark.parametrize("level", [300, 3_000])
def test_the_bandwidth_of_filtered_noise_is_where_it_was_cut(cutoff_hz, level):
  found = measure.bandwidth_hz(_noise(cutoff_hz, level=level), RATE_HZ)
  assert cutoff_hz - 50 <= found <= cutoff_hz + 150


def test_the_bandwidth_of_all_there_is_is_half_the_rate():
  for seconds in (0.02, 1.0, 10.0):  # also of less than one window
    assert measure.bandwidth_hz(_noise(seconds=seconds), RATE_HZ) > 11_700


def test_rounding_to_16_bits_is_not_taken_for_sound():
  t = np.arange(10 * RATE_HZ) / RATE_HZ
  for amplitude in (2, 20, 200, 20_000):
    tone = amplitude * np.sin(2 * np.pi * 997.3 * t)
    tone += np.random.default_rng(0).random(len(t)) - 0.5  # dither
    found = measure.bandwidth_hz(np.rint(tone).astype(np.int16), RATE_HZ)
    assert 990 < found < 1_160


def test_silence_and_a_constant_have_no_bandwidth():
  for value in (0, 1, 20_000):
    audio = np.full(RATE_HZ, value, np.int16)
    assert measure.bandwidth_hz(audio, RATE_HZ) == 0


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_other_rates_are_measured_alike(rate_hz):
  t = np.arange(rate_hz) / rate_hz
  tone = np.rint(9_000 * np.sin(2 * np.pi * 2_500 * t)).astype(np.int16)
  assert 2_450 < measure.bandwidth_hz(tone, rate_hz) < 2_700


def test_levels_are_of_the_root_mean_square():
  square = np.tile(np.array([32_767, -32_767], np.int16), 500)
  assert measure.level_dbfs(square) == pytest.approx(0, abs=1e-3)
  sine = 32_767 * np.sin(2 * np.pi * np.arange(RATE_HZ) / 24)
  assert measure.level_dbfs(sine.astype(np.int16)) == pytest.approx(
    -3.01, abs=0.01
  )
  assert measure.level_dbfs(np.zeros(9, np.int16)) == measure.LOWEST_DBFS


def test_silent_frames_are_those_below_60_dbfs():
  audio = np.repeat(np.array([0, 32, 33, 20_000], np.int16), 240)
  assert measure.count_silent(audio, RATE_HZ) == (4, 2)


def _clipped_by_hand(audio):
  """Counts samples in runs of at least three, one by one."""
  count = 0
  for channel in audio.T:
    side = [round(x) * (abs(x) >= 32_767 / 32_768) for x in channel]
    at = 0
    while at < len(side):
      end = at
      while end < len(side) and side[end] == side[at]:
        end += 1
      count += (end - at) * bool(side[at] and end - at >= 3)
      at = end
  return count


@given(
  st.lists(
    st.tuples(*[st.sampled_from([-1.0, 0.0, 1.0, 1.25])] * 2),
    min_size=1,
    max_size=40,
  ),
  st.lists(st.integers(0, 40), max_size=5),
)
@settings(max_examples=100, deadline=None)
def test_clipped_samples_are_counted_however_the_file_is_cut(values, cuts):
  audio = np.array(values, np.float32)
  clipping = measure.Clipping()
  for block in np.split(audio, sorted(cuts)):
    if len(block):
      clipping.add(block)
  assert clipping.samples == _clipped_by_hand(audio)


def test_statistics_of_parts_add_up():
  whole, parts = measure.Sound(), [measure.Sound(), measure.Sound()]
  for number, part in enumerate(parts):
    for sound in (whole, part):
      sound.add_file(seconds=2.0, rate_hz=8_000, samples=9, clipped=number)
      sound.add_record(_noise(level=30, seconds=1.0, seed=number), RATE_HZ)
  total = measure.Sound()
  for part in parts:
    total.add(part)
  assert total == whole
  assert whole.frames == 200
