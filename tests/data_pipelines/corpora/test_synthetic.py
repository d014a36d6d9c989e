"""Synthetic sound is a function of its seed, and fit to train on."""

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.data_pipelines.corpora import synthetic

KINDS = list(synthetic.KINDS)


def _make(kind, index=0, *, seed=0, seconds=4.0, rate_hz=24_000):
  return synthetic.piece(
    kind, index, seconds=seconds, seed=seed, sample_rate_hz=rate_hz
  )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_is_identical_and_another_differs(kind):
  first = _make(kind).audio
  np.testing.assert_array_equal(first, _make(kind).audio)
  for other in (_make(kind, seed=1), _make(kind, 1)):
    assert abs(np.corrcoef(first, other.audio)[0, 1]) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_sensible_and_the_band_is_used(kind):
  for index in range(4):
    audio = _make(kind, index).audio / 32_768
    assert len(audio) == 96_000
    assert 0.29 < np.abs(audio).max() < 0.71
    assert audio.std() > 0.01
    assert abs(audio.mean()) < 0.01
    power = np.abs(np.fft.rfft(audio)) ** 2
    assert power[: 8_000 * 4].sum() > 0.2 * power.sum()
    assert power[4_000 * 4 :].sum() > 1e-6 * power.sum()


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_other_sample_rates_work(rate_hz):
  for kind in KINDS:
    audio = _make(kind, seconds=2.0, rate_hz=rate_hz).audio
    assert len(audio) == 2 * rate_hz


def test_voices_have_pitch_and_pauses():
  audio = _make("voices", seconds=8.0).audio / 32_768
  level = np.sqrt((audio.reshape(-1, 2_400) ** 2).mean(axis=1))
  assert 0.02 < np.mean(level < 0.02 * level.max()) < 0.6
  loudest = int(np.argmax(level)) * 2_400
  block = audio[loudest : loudest + 2_400]
  spectrum = np.abs(np.fft.rfft(block, 8_192)) ** 2
  correlation = np.fft.irfft(spectrum)[60:400]
  assert correlation.max() > 0.4 * np.sum(block**2)


@pytest.mark.parametrize("minutes", [0.4, 4, 60, 600])
@pytest.mark.parametrize("percentages", [(90, 5, 5), (98, 1, 1), (34, 33, 33)])
def test_every_split_has_a_group_and_no_group_is_in_two(minutes, percentages):
  splits, seconds = synthetic.plan(
    "voices", minutes=minutes, percentages=percentages
  )
  indices = [index for members in splits.values() for index in members]
  assert indices == list(range(len(indices)))
  assert len(indices) >= 12
  assert all(splits.values())
  assert len(indices) * seconds == pytest.approx(60 * minutes)


def test_a_split_of_nothing_stays_empty():
  splits, _ = synthetic.plan("voices", minutes=1, percentages=(100, 0, 0))
  assert [len(members) for members in splits.values()] == [12, 0, 0]


@pytest.mark.parametrize("minutes", [0, -1, 0.3, float("nan"), float("inf")])
def test_too_little_audio_is_an_input_error(minutes):
  with pytest.raises(errors.InputError, match="--minutes"):
    synthetic.plan("voices", minutes=minutes, percentages=(90, 5, 5))
