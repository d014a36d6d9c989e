"""Clips are whole or cut, at the model's rate, each once, and never silent."""

import dataclasses

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.data import held_out
from soundstream_jax.evaluate.measuring import clip_set, sound

RATE, HOP = 24_000, 160


def _noise(seconds, *, rate=RATE, channels=1, gain=0.1, seed=0):
  rng = np.random.default_rng(seed)
  shape = (round(seconds * rate), channels)
  return (gain * rng.normal(size=shape)).astype(np.float32)


def _of(folder, **asked):
  return clip_set.of_audio(folder, sample_rate_hz=RATE, hop=HOP, **asked)


@pytest.fixture
def folder(tmp_path):
  """Two classes, a file of neither, and four that cannot be measured on."""
  for name in ("speech", "music/deep"):
    (tmp_path / name).mkdir(parents=True)
  soundfile.write(tmp_path / "speech/a.wav", _noise(1.0), RATE)
  soundfile.write(
    tmp_path / "speech/b.flac", _noise(2.0, rate=44_100, channels=2), 44_100
  )
  soundfile.write(tmp_path / "music/deep/a.wav", _noise(0.7, seed=1), RATE)
  soundfile.write(tmp_path / "c.wav", _noise(0.5, seed=2), RATE)
  soundfile.write(tmp_path / "music/silent.wav", np.zeros(RATE), RATE)
  soundfile.write(tmp_path / "music/quiet.wav", _noise(1.0, gain=1e-4), RATE)
  soundfile.write(tmp_path / "speech/short.wav", _noise(0.005), RATE)
  whole = tmp_path / "speech/a.wav"
  (tmp_path / "music/cut.wav").write_bytes(whole.read_bytes()[:20_000])
  (tmp_path / "music/text.wav").write_text("no sound")
  (tmp_path / "music/notes.txt").write_text("no sound either")
  return tmp_path


def test_files_that_cannot_be_measured_on_are_named_and_the_others_stay(folder):
  clips = _of(folder)
  assert [clip.name for clip in clips.clips] == [
    *("c.wav", "music__deep__a.wav", "speech__a.wav", "speech__b.flac")
  ]
  assert [clip.kind for clip in clips.clips] == [
    *("all", "music", "speech", "speech")
  ]
  assert len(clips.left_out) == 5
  for name, why in {
    "silent.wav": "it is silent",
    "quiet.wav": "it is silent",
    "short.wav": "shorter than the model's hop of 0.007 s",
    "cut.wav": "the header says 1.000 s",
    "text.wav": "cannot be read as audio",
  }.items():
    (line,) = (text for text in clips.left_out if name in text)
    assert why in line and "\n" not in line


def test_clips_are_mixed_resampled_and_whole_hops(folder):
  for clip in _of(folder).clips:
    audio = clip.load()
    assert audio.shape == (clip.samples,) and audio.dtype == np.float32
    assert clip.samples % HOP == 0
    # Nothing is padded, and less than a hop is cut off.
    assert np.std(audio[-HOP:]) > 0.01
  by_name = {clip.name: clip.samples for clip in _of(folder).clips}
  assert by_name["speech__b.flac"] == 2 * RATE
  assert by_name["music__deep__a.wav"] == 0.7 * RATE


def test_clips_are_the_same_every_time_and_their_digest_says_so(folder):
  first, again = _of(folder), _of(folder)
  assert first.digest == again.digest
  for one, other in zip(first.clips, again.clips, strict=True):
    np.testing.assert_array_equal(one.load(), other.load())
  soundfile.write(folder / "c.wav", _noise(0.5, seed=3), RATE)
  assert _of(folder).digest != first.digest
  with pytest.raises(errors.InputError, match=r"c\.wav: it has changed since"):
    first.clips[0].load()


def test_a_few_clips_are_of_all_classes(folder):
  assert {clip.kind for clip in _of(folder, clips=3).clips} == {
    *("all", "music", "speech")
  }
  assert _of(folder).first_of_each_class(1) == [
    *("c.wav", "music__deep__a.wav", "speech__a.wav")
  ]


def test_a_long_file_is_cut_to_its_loudest_part_however_it_comes():
  audio = _noise(9.0, gain=0.01)[:, 0]
  audio[5 * RATE : 6 * RATE] *= 20
  whole = sound.loudest([audio], RATE)
  np.testing.assert_array_equal(whole, audio[5 * RATE : 6 * RATE])
  for size in (1, 999, 30_000):
    pieces = np.split(audio, range(size, len(audio), max(size, 500)))
    np.testing.assert_array_equal(sound.loudest(pieces, RATE), whole)
  np.testing.assert_array_equal(sound.loudest([audio], 10 * RATE), audio)


def test_names_that_would_be_one_folder_stay_apart(tmp_path):
  (tmp_path / "a").mkdir()
  soundfile.write(tmp_path / "a/b.wav", _noise(0.5), RATE)
  soundfile.write(tmp_path / "a__b.wav", _noise(0.5), RATE)
  soundfile.write(tmp_path / f"{'ü' * 120}.wav", _noise(0.5), RATE)
  names = [clip.name for clip in _of(tmp_path).clips]
  assert len(set(names)) == 3
  assert all("/" not in name and len(name.encode()) < 200 for name in names)


def test_a_folder_without_a_clip_is_one_line(tmp_path):
  with pytest.raises(errors.InputError, match="no audio is in this folder"):
    _of(tmp_path)
  soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
  with pytest.raises(
    errors.InputError, match=r"no clip of .*a\.wav: it is sil"
  ):
    _of(tmp_path)
  with pytest.raises(errors.InputError, match="shorter than the model's hop"):
    _of(tmp_path, seconds=0.001)


def test_a_splits_clips_are_those_that_training_measures(voices, small_config):
  config = small_config(**{"data.sources": voices})
  found = held_out.held_out(config)
  clips = clip_set.of_split(config, split="validation")
  assert clips.origin == "validation"
  for clip, audio in zip(clips.clips, found.audio, strict=True):
    np.testing.assert_array_equal(clip.load(), audio[:, 0])
  more = clip_set.of_split(config, split="validation", seconds=0.1, clips=3)
  assert more.seconds == [0.1] * 3
  # What is left of a hop is cut off.
  odd = dataclasses.replace(config.evaluation, clip_samples=8_003)
  config = dataclasses.replace(config, evaluation=odd)
  assert clip_set.of_split(config, split="validation").clips[0].samples == 8_000


def test_a_datasets_class_is_its_field_or_its_datasheets_kind(
  voices, noises, small_config
):
  config = small_config(**{"data.sources": f"{voices},{noises}"})
  assert [clip_set.class_of(config, f) for f in (voices, noises)] == [
    *("voices", "noises")
  ]
  config = small_config(
    **{
      "data.speech": voices,
      "data.noise": noises,
      "data.mixture.speech": 0.5,
      "data.mixture.noise": 0.5,
    }
  )
  assert [clip_set.class_of(config, f) for f in (voices, noises)] == [
    *("speech", "noise")
  ]


def test_of_a_noisy_mixture_an_equal_share_of_the_clips_is_noisy(
  voices, noises, small_config
):
  config = small_config(
    **{
      "data.speech": voices,
      "data.music": noises,
      "data.noise": noises,
      "data.mixture.speech": 1.0,
      "data.mixture.noisy_speech": 1.0,
      "data.mixture.music": 1.0,
    }
  )
  clips = clip_set.of_split(config, split="validation", clips=6)
  kinds = [clip.kind for clip in clips.clips]
  assert kinds == ["speech", "music", "speech", "music", "noisy", "noisy"]
  found = held_out.noisy(
    config, split="validation", num=2, snr_db=clip_set.NOISY_SNR_DB
  )
  for i, clip in enumerate(clips.clips[4:]):
    # As 16 bits have it.
    np.testing.assert_allclose(clip.load(), found.audio[i, :, 0], atol=2e-5)
    voice = found.clean.audio[i]
    ratio = np.sum(voice**2) / np.sum((found.audio[i] - voice) ** 2)
    np.testing.assert_allclose(
      10 * np.log10(ratio), clip_set.NOISY_SNR_DB, atol=0.01
    )
