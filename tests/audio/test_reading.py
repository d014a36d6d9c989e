"""Laws of audio files, resampling and int16."""

import fractions
import math

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import io

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
  assert io.resample(audio, rate_in_hz, 24_000).shape == (math.ceil(exact), 2)


def test_resampling_nothing_or_to_the_same_rate_changes_nothing():
  audio = _tone(100, 24_000)
  np.testing.assert_array_equal(io.resample(audio, 24_000, 24_000), audio)
  assert io.resample(audio[:0], 44_100, 24_000).shape == (0, 1)


def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_hold():
  kept = io.resample(_tone(44_100, 44_100), 44_100, 24_000)
  np.testing.assert_allclose(
    kept[1_000:-1_000], _tone(24_000, 24_000)[1_000:-1_000], atol=1e-4
  )
  high = io.resample(_tone(44_100, 44_100, frequency_hz=15_000), 44_100, 24_000)
  assert np.abs(high[1_000:-1_000]).max() < 1e-4


@pytest.mark.parametrize("rate_hz", [24_000, 44_100])
def test_reading_mono_in_blocks_equals_resampling_the_whole_file(
  tmp_path, rate_hz, monkeypatch
):
  monkeypatch.setattr(io, "_BLOCK_SAMPLES", 1_000)
  audio = np.random.default_rng(0).uniform(-0.5, 0.5, (12_345, 2))
  soundfile.write(tmp_path / "a.wav", audio, rate_hz, subtype="FLOAT")
  whole, rate_in_hz = io.read(tmp_path / "a.wav")
  mono = io.read_mono(tmp_path / "a.wav", sample_rate_hz=24_000)
  expected = io.resample(io.to_mono(whole)[:, None], rate_in_hz, 24_000)
  np.testing.assert_allclose(mono, expected[:, 0], atol=1e-6)


def test_int16_to_float_and_back_is_the_identity():
  pcm = np.arange(-32_768, 32_768).astype(np.int16)
  audio = io.to_float32(pcm)
  assert audio.dtype == np.float32
  assert audio.min() == -1
  np.testing.assert_array_equal(io.to_int16(audio), pcm)


def test_int16_clips_and_never_wraps():
  loud = np.array([1.0, 1.5, 100.0, -1.0, -1.5, -1e30], np.float32)
  np.testing.assert_array_equal(io.to_int16(loud), [32_767] * 3 + [-32_768] * 3)
  with pytest.raises(ValueError, match="NaN"):
    io.to_int16(np.array([0.0, np.nan]))


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_what_is_written_is_read_back_to_half_a_step(tmp_path, channels):
  audio = np.random.default_rng(0).uniform(-1, 1, (500, channels or 1))
  path = tmp_path / "a.wav"
  io.write(path, audio[:, 0] if channels is None else audio, 16_000)
  read, rate_hz = io.read(path)
  assert rate_hz == 16_000
  assert soundfile.info(path).subtype == "PCM_16"
  np.testing.assert_allclose(
    read, np.clip(audio, -1, 32_767 / 32_768), atol=1.6e-5
  )
  assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
  tmp_path, monkeypatch
):
  path = tmp_path / "a.wav"
  io.write(path, np.zeros(10), 24_000)
  before = path.read_bytes()
  with pytest.raises(ValueError, match="NaN"):
    io.write(path, np.full(10, np.nan), 24_000)
  with monkeypatch.context() as patch, pytest.raises(errors.DiskError):
    patch.setattr(io.os, "replace", _no_space)
    io.write(path, np.ones(10), 24_000)
  assert path.read_bytes() == before
  assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def _no_space(*_):
  raise OSError(28, "No space left on device")


def test_writing_to_a_bad_place_names_the_place(tmp_path):
  (tmp_path / "file").write_text("")
  for path in (tmp_path / "none" / "a.wav", tmp_path / "file" / "a.wav"):
    place = f"a.wav cannot be written to {path.parent} "
    with pytest.raises(errors.InputError, match=place):
      io.write(path, np.zeros(10), 24_000)
  with pytest.raises(errors.InputError, match=r"Name it a\.wav"):
    io.write(tmp_path / "a.mp3", np.zeros(10), 24_000)


def _empty(path):
  path.write_bytes(b"")


def _garbage(path):
  path.write_bytes(np.random.default_rng(0).bytes(5_000))


def _no_samples(path):
  soundfile.write(path, np.zeros((0, 1)), 24_000)


def _not_finite(path):
  audio = np.zeros(100)
  audio[48] = np.inf
  soundfile.write(path, audio, 24_000, subtype="FLOAT")


@pytest.mark.parametrize(
  ("make", "name", "reason"),
  [
    (_empty, "a.wav", "0 bytes"),
    (_garbage, "a.flac", "cannot be read as audio"),
    (_garbage, "a.mp3", "cannot be read as audio"),
    (_no_samples, "a.wav", "holds no samples"),
    (_not_finite, "a.wav", "0.002 s is NaN or infinite"),
    (lambda path: path.mkdir(), "a.wav", "a folder"),
    (lambda path: None, "a.wav", "no such file"),
  ],
)
def test_a_bad_file_is_an_input_error_that_names_it(
  tmp_path, make, name, reason
):
  make(tmp_path / name)
  for read in (io.read, lambda p: io.read_mono(p, sample_rate_hz=24_000)):
    with pytest.raises(errors.InputError, match=reason) as caught:
      read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_read_as_far_as_it_goes_or_refused(tmp_path):
  for suffix in (".wav", ".flac", ".ogg", ".mp3"):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, _tone(48_000, 48_000), 48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
      audio, _ = io.read(path)
    except errors.InputError:
      continue
    assert 0 < len(audio) <= 48_000


def test_names_that_are_not_utf8_can_be_read(tmp_path):
  io.write(tmp_path / "a.wav", np.zeros(10), 24_000)
  odd = tmp_path / "\udcff.wav"
  (tmp_path / "a.wav").rename(odd)
  assert len(io.read(odd)[0]) == 10
