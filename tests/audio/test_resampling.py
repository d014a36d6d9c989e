"""Laws of sample rates."""

import fractions
import itertools
import math

import numpy as np
import pytest

from soundstream_jax.audio import resampling

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)


def _tone(num_samples, rate_hz, channels=1, frequency_hz=440.0):
  t = np.arange(num_samples) / rate_hz
  tone = 0.4 * np.sin(2 * np.pi * frequency_hz * t)
  return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


@pytest.mark.parametrize("rate_in_hz", RATES_HZ)
@pytest.mark.parametrize("num_samples", [1, 2, 7, 1_000, 12_345])
def test_resampling_gives_exactly_the_rounded_up_length(
  rate_in_hz, num_samples
):
  audio = _tone(num_samples, rate_in_hz, channels=2)
  exact = fractions.Fraction(num_samples * 24_000, rate_in_hz)
  assert resampling.resample(audio, rate_in_hz, 24_000).shape == (
    math.ceil(exact),
    2,
  )


def test_resampling_nothing_or_to_the_same_rate_changes_nothing():
  audio = _tone(100, 24_000)
  np.testing.assert_array_equal(
    resampling.resample(audio, 24_000, 24_000), audio
  )
  assert resampling.resample(audio[:0], 44_100, 24_000).shape == (0, 1)


def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_hold():
  kept = resampling.resample(_tone(44_100, 44_100), 44_100, 24_000)
  np.testing.assert_allclose(
    kept[1_000:-1_000], _tone(24_000, 24_000)[1_000:-1_000], atol=1e-4
  )
  high = resampling.resample(
    _tone(44_100, 44_100, frequency_hz=15_000), 44_100, 24_000
  )
  assert np.abs(high[1_000:-1_000]).max() < 1e-4


@pytest.mark.parametrize("rate_in_hz", [24_000, 11_025, 44_100, 48_000])
def test_sound_as_it_comes_has_no_seams(rate_in_hz):
  """Any blocks, of one sample or none too, give what the whole clip gives."""
  random = np.random.default_rng(rate_in_hz)
  audio = random.uniform(-0.5, 0.5, (30_000, 2)).astype(np.float32)
  cuts = [0, 1, 2, 2, 700, 8_191, 8_192, 20_000, 30_000]
  resampler = resampling.Resampler(rate_in_hz, 24_000, 2)
  found = [
    resampler.push(audio[start:stop])
    for start, stop in itertools.pairwise(cuts)
  ]
  np.testing.assert_allclose(
    np.concatenate([*found, resampler.flush()]),
    resampling.resample(audio, rate_in_hz, 24_000),
    atol=1e-6,
  )
