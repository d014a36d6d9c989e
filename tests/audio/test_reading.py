"""Laws of audio files that are read."""

import os

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import reading, resampling, wav, waveform


@pytest.mark.parametrize("rate_hz", [24_000, 44_100])
def test_reading_mono_in_blocks_equals_resampling_the_whole_file(
  tmp_path, rate_hz, monkeypatch
):
  monkeypatch.setattr(reading, "_BLOCK_SAMPLES", 1_000)
  audio = np.random.default_rng(0).uniform(-0.5, 0.5, (12_345, 2))
  soundfile.write(tmp_path / "a.wav", audio, rate_hz, subtype="FLOAT")
  whole, rate_in_hz = reading.read(tmp_path / "a.wav")
  mono = reading.read_mono(tmp_path / "a.wav", sample_rate_hz=24_000)
  expected = resampling.resample(
    waveform.to_mono(whole)[:, None], rate_in_hz, 24_000
  )
  np.testing.assert_allclose(mono, expected[:, 0], atol=1e-6)


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
  for read in (
    reading.read,
    lambda p: reading.read_mono(p, sample_rate_hz=24_000),
  ):
    with pytest.raises(errors.InputError, match=reason) as caught:
      read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_read_as_far_as_it_goes_or_refused(tmp_path):
  for suffix in (".wav", ".flac", ".ogg", ".mp3"):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, 0.4 * np.sin(np.arange(48_000) / 17), 48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
      audio, _ = reading.read(path)
    except errors.InputError:
      continue
    assert 0 < len(audio) <= 48_000


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (24_000, 2)])
def test_samples_that_mixing_or_resampling_makes_infinite_carry_the_file(
  tmp_path, rate_hz, channels
):
  loud = np.full((rate_hz, channels), 3.4e38, np.float32)
  loud[::2] *= -1
  soundfile.write(tmp_path / "a.wav", loud, rate_hz, subtype="FLOAT")
  assert len(reading.read(tmp_path / "a.wav")[0]) == rate_hz
  with pytest.raises(errors.InputError, match=r"a\.wav: sample at .* infinite"):
    reading.read_mono(tmp_path / "a.wav", sample_rate_hz=24_000)


def test_a_sound_says_what_it_is_and_what_was_read(tmp_path):
  audio = np.zeros((12_345, 3))
  soundfile.write(tmp_path / "a.wav", audio, 8_000)
  with reading.opened(tmp_path / "a.wav", name="standard input") as sound:
    assert (sound.name, sound.rate_hz) == ("standard input", 8_000)
    assert (sound.channels, sound.claimed_samples) == (3, 12_345)
    assert sound.samples == 0
    (block,) = sound.blocks()
    assert (block.dtype, block.shape) == (np.float32, (12_345, 3))
    assert (sound.samples, sound.damage) == (12_345, "")
  with pytest.raises(errors.InputError, match="standard input: there"):
    reading.opened(tmp_path / "nothing", name="standard input")


def test_blocks_of_many_channels_are_no_larger_than_those_of_two(tmp_path):
  soundfile.write(tmp_path / "a.wav", np.zeros((5_000, 200)), 8_000)
  with reading.opened(tmp_path / "a.wav") as sound:
    sizes = [block.size for block in sound.blocks()]
  assert sum(sizes) == 1_000_000
  assert max(sizes) <= 2 << 18


def test_a_file_that_cannot_be_read_is_closed(tmp_path):
  (tmp_path / "a.wav").write_bytes(b"RIFF" + bytes(100))
  before = len(os.listdir("/proc/self/fd"))
  for _ in range(20):
    with pytest.raises(errors.InputError):
      reading.opened(tmp_path / "a.wav")
  assert len(os.listdir("/proc/self/fd")) == before


def test_names_that_are_not_utf8_can_be_read(tmp_path):
  wav.write(tmp_path / "a.wav", np.zeros(10), 24_000)
  odd = tmp_path / "\udcff.wav"
  (tmp_path / "a.wav").rename(odd)
  assert len(reading.read(odd)[0]) == 10
