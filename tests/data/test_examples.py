"""Laws of the kinds of example, over many random draws."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import config as config_lib
from soundstream_jax.data import examples, kinds

RATE_HZ = 24_000
CONFIG = config_lib.Config()


def _config(film="encoder", **data):
  return dataclasses.replace(
    CONFIG,
    model=dataclasses.replace(CONFIG.model, film=film),
    data=dataclasses.replace(
      CONFIG.data,
      **{
        "gain_db": (0.0, 0.0),
        "crop_samples": 9_600,
        "mixture": config_lib.Mixture(speech=1.0, noisy_speech=1.0),
        **data,
      },
    ),
  )


def _tone(hertz, seconds=1.0, level=0.3):
  t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
  return np.rint(level * 32_767 * np.sin(2 * np.pi * hertz * t)).astype(
    np.int16
  )


def _hiss(seconds=1.0, seed=0):
  noise = np.random.default_rng(seed).normal(size=round(seconds * RATE_HZ))
  return np.rint(3_000 * noise).clip(-32_768, 32_767).astype(np.int16)


def _pool(*records):
  return examples.Pool(([{"audio": r} for r in records],), (1.0,))


def _noisy(**data):
  config = _config(**data)
  return examples.Example(config, kinds.NOISY, noise=_pool(_hiss(2)))


def _share_above(audio, hertz):
  power = np.abs(np.fft.rfft(audio[:, 0])) ** 2
  edge = int(hertz / RATE_HZ * len(audio))
  return power[edge:].sum() / power.sum()


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_crop_is_a_whole_part_or_the_whole_record_in_zeros(
  num_samples, length, seed
):
  pcm = np.arange(1, num_samples + 1, dtype=np.int16)
  crop = examples.crop(pcm, length, np.random.default_rng(seed)) * 32_768
  assert crop.shape == (length,)
  kept = crop[crop != 0]
  assert len(kept) == min(num_samples, length)
  np.testing.assert_array_equal(np.diff(kept), 1)
  np.testing.assert_array_equal(np.diff(np.flatnonzero(crop)), 1)


def test_every_place_is_cropped_padded_and_repeated_from():
  rng = np.random.default_rng(0)
  long, short = np.arange(10, dtype=np.int16), np.arange(1, 8, dtype=np.int16)

  def first(pcm, length, **options):
    crops = [examples.crop(pcm, length, rng, **options) for _ in range(150)]
    return {int(crop[0] * 32_768) for crop in crops}

  assert first(long, 8) == {0, 1, 2}
  assert first(short, 8) == {0, 1}
  assert first(short, 8, repeat=True) == set(range(1, 8))
  repeated = examples.crop(short, 16, rng, repeat=True) * 32_768
  np.testing.assert_array_equal(repeated[:7], repeated[7:14])


def test_silence_is_left_for_sound_where_the_record_has_both():
  pcm = np.concatenate([np.zeros(24_000, np.int16), _tone(300, 1)])
  rng = np.random.default_rng(0)
  crops = [examples.crop(pcm, 4_800, rng) for _ in range(200)]
  silent = np.mean([examples.rms_of(c) < examples.SILENCE_RMS for c in crops])
  # Two in five places are silent; all of four draws seldom are.
  assert silent < 0.1
  nothing = examples.crop(np.zeros(24_000, np.int16), 4_800, rng)
  np.testing.assert_array_equal(nothing, 0)


@given(st.integers(1, 32_768), st.floats(-60, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_gain_never_goes_beyond_full_scale(peak, gain_db, seed):
  audio = np.array([0, 1, -peak], np.float32) / 32_768
  rng = np.random.default_rng(seed)
  gain = examples.level(audio, audio, (gain_db, gain_db), rng)
  assert np.abs(audio * gain).max() <= 1
  expected = min(1.0, peak / 32_768 * 10 ** (gain_db / 20))
  np.testing.assert_allclose(np.abs(audio * gain).max(), expected, rtol=1e-6)


def test_gain_is_uniform_in_decibels_and_none_is_exact():
  rng = np.random.default_rng(0)
  audio = np.full(1, 0.25, np.float32)
  drawn_db = [
    20 * np.log10(examples.level(audio, audio, (-12.0, 3.0), rng))
    for _ in range(2_000)
  ]
  shares, _ = np.histogram(drawn_db, bins=5, range=(-12, 3))
  assert shares.sum() == 2_000
  assert shares.min() > 300
  assert examples.level(audio, audio, (0.0, 0.0), rng) == 1


def test_the_flag_decides_whether_the_target_is_the_voice_or_the_input():
  example, voice = _noisy(), {"audio": _tone(300, 2)}
  flags = []
  for seed in range(60):
    made = example(voice, np.random.default_rng(seed))
    assert made.audio.dtype == made.target.dtype == np.float32
    assert np.abs(made.audio).max() <= 1
    flags.append(bool(made.denoise))
    if not made.denoise:
      np.testing.assert_array_equal(made.audio, made.target)
      continue
    # A tone is what is left of a tone with noise, at the same level and place.
    assert _share_above(made.target, 400) < 1e-3
    assert not np.array_equal(made.audio, made.target)
    scale = np.vdot(made.audio, made.target) / np.vdot(made.target, made.target)
    assert 0.8 < scale < 1.2
  assert 0.3 < np.mean(flags) < 0.7


def test_noise_has_a_gain_uniform_in_decibels_between_equal_peaks():
  example = _noisy(denoise_share=1.0, noise_gain_db=(-30.0, 0.0))
  found = []
  for seed in range(400):
    made = example({"audio": _tone(300, 2)}, np.random.default_rng(seed))
    noise = np.abs(made.audio - made.target).max()
    found.append(20 * np.log10(noise / np.abs(made.target).max()))
  assert min(found) > -30.1
  assert max(found) < 0.1
  shares, _ = np.histogram(found, bins=3, range=(-30, 0))
  assert shares.min() > 90


def test_a_narrow_voice_gets_noise_that_ends_where_it_does():
  example, voice = _noisy(noise_gain_db=(0.0, 0.0)), {"audio": _tone(300, 2)}
  rng = np.random.default_rng
  wide = example({**voice, "bandwidth_hz": 11_500.0}, rng(1))
  unknown = example(voice, rng(1))
  narrow = example({**voice, "bandwidth_hz": 4_000.0}, rng(1))
  np.testing.assert_array_equal(wide.audio, unknown.audio)
  assert _share_above(wide.audio, 4_000) > 0.01
  assert _share_above(narrow.audio, 4_000) < 1e-6


def test_without_film_noisy_speech_is_what_is_coded():
  config = _config(film="none")
  example = examples.Example(config, kinds.NOISY, noise=_pool(_hiss(2)))
  made = example({"audio": _tone(300, 2)}, np.random.default_rng(0))
  assert made.target is None
  assert made.denoise is None
  assert _share_above(made.audio, 400) > 1e-3


def test_nobody_asks_for_noise_without_noise():
  (noise,) = [k for k in kinds.ALL if k.name == "noise"]
  example = examples.Example(_config(denoise_share=1.0), noise)
  made = example({"audio": _hiss()}, np.random.default_rng(0))
  assert not made.denoise
  np.testing.assert_array_equal(made.audio, made.target)


def test_a_room_adds_what_comes_after_and_moves_nothing():
  room = np.zeros(6_000, np.float32)
  room[100], room[100 + 2_400] = 0.5, 0.25
  room = examples.direct_sound_first(room)
  click = np.zeros(9_600, np.float32)
  click[1_000] = 1.0
  wet = examples.reverberate(click, room)
  loud = np.flatnonzero(np.abs(wet) > 0.1)
  np.testing.assert_array_equal(loud, [1_000, 3_400])
  np.testing.assert_allclose(wet[3_400] / wet[1_000], 0.5, rtol=1e-4)
  np.testing.assert_allclose(examples.rms_of(wet), examples.rms_of(click))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_reverberation_is_convolution_at_the_level_of_the_audio(
  num_samples, room_samples, seed
):
  rng = np.random.default_rng(seed)
  audio = rng.normal(size=num_samples).astype(np.float32)
  room = rng.normal(size=room_samples).astype(np.float32)
  wet = np.convolve(audio.astype(np.float64), room)[:num_samples]
  expected = wet * examples.rms_of(audio) / examples.rms_of(wet)
  np.testing.assert_allclose(
    examples.reverberate(audio, room), expected, rtol=0, atol=1e-5
  )


def test_a_reverberant_target_keeps_the_room_and_loses_the_noise():
  by_name = {kind.name: kind for kind in kinds.ALL}
  room = np.zeros(3_000, np.int16)
  room[[0, 2_000]] = 29_000, 20_000
  config = _config(denoise_share=1.0, noise_gain_db=(0.0, 0.0))
  made = examples.Example(
    config,
    by_name["noisy_reverberant_speech"],
    noise=_pool(_hiss(2)),
    rooms=_pool(room),
  )({"audio": _tone(300, 2)}, np.random.default_rng(0))
  assert _share_above(made.target, 400) < 1e-2
  assert _share_above(made.audio, 400) > 1e-2


def test_filters_are_stable_and_take_place_in_their_share():
  voice = {"audio": _hiss(2)}
  plain = examples.Example(_config(), kinds.ANY)
  always = examples.Example(_config(filter_share=1.0), kinds.ANY)
  changed = 0
  for seed in range(50):
    audio = always(voice, np.random.default_rng(seed)).audio
    assert np.isfinite(audio).all()
    changed += not np.array_equal(
      audio, plain(voice, np.random.default_rng(seed)).audio
    )
  assert changed == 50


@pytest.mark.parametrize("weights", [(3.0, 1.0), (0.25, 0.75)])
def test_a_pool_draws_by_weight(weights):
  pool = examples.Pool(([{"audio": 0}] * 5, [{"audio": 1}] * 50), weights)
  rng = np.random.default_rng(0)
  share = np.mean([pool.draw(rng)["audio"] for _ in range(2_000)])
  np.testing.assert_allclose(share, weights[1] / sum(weights), atol=0.04)


def test_an_example_is_a_function_of_record_and_generator():
  example, record = _noisy(filter_share=0.5), {"audio": _tone(300, 2)}
  first, again, other = (
    example(record, np.random.default_rng(seed)) for seed in (7, 7, 8)
  )
  for a, b in zip(first, again, strict=True):
    np.testing.assert_array_equal(a, b)
  assert not np.array_equal(first.audio, other.audio)
