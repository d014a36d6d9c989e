"""Clips to measure on are fixed, whole, loud and spread."""

import collections

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.data import held_out, source
from soundstream_jax.data_pipelines.preparation import records


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
  """Validation: a big group, three small ones, one of silence."""
  out = tmp_path_factory.mktemp("prepared") / "uneven"
  rng = np.random.default_rng(0)

  def pieces(split):
    for group, seconds in {"big": 60, "b": 4, "c": 4, "d": 4}.items():
      noise = rng.normal(0, 500, seconds * 24_000).astype(np.int16)
      # Four seconds in which the third is the loudest.
      noise.reshape(-1, 4, 24_000)[:, 2] *= 8
      yield records.Piece(f"{split}/{group}", "", noise)
    yield records.Piece(f"{split}/silent", "", np.zeros(240_000, np.int16))

  records.write(
    out,
    pieces={s: lambda s=s: pieces(s) for s in ("train", "validation")},
    sample_rate_hz=24_000,
    details={},
  )
  return str(out)


def _config(make_config, sources, num, samples=24_000):
  return make_config(
    sources,
    **{"evaluation.num_clips": num, "evaluation.clip_samples": samples},
  )


def test_clips_are_always_the_same_and_do_not_depend_on_the_seed(
  voices, make_config
):
  first = held_out.held_out(make_config(voices))
  again = held_out.held_out(make_config(voices, seed=7))
  np.testing.assert_array_equal(first.audio, again.audio)
  assert first.group == again.group


def test_groups_take_turns(uneven, make_config):
  clips = held_out.held_out(_config(make_config, uneven, 8))
  counts = collections.Counter(clips.group)
  assert set(counts) == {f"validation/{g}" for g in ("big", "b", "c", "d")}
  assert set(counts.values()) == {2}


def test_fewer_clips_are_the_first_of_more(uneven, make_config):
  few = held_out.held_out(_config(make_config, uneven, 3))
  many = held_out.held_out(_config(make_config, uneven, 8))
  np.testing.assert_array_equal(few.audio, many.audio[:3])


def test_sources_take_turns_whatever_their_weights(
  uneven, numbered, make_config
):
  sources = f"{uneven}:0.99,{numbered}:0.01"
  clips = held_out.held_out(_config(make_config, sources, 6))
  assert clips.source_index == [0, 1, 0, 1, 0, 1]
  assert clips.source_names == [uneven, numbered]


def test_the_loudest_part_comes_first_and_nothing_is_padded(
  uneven, make_config
):
  clips = held_out.held_out(_config(make_config, uneven, 4))
  rms = np.sqrt((clips.audio**2).mean(axis=(1, 2))) * 32_768
  assert clips.audio.shape == (4, 24_000, 1)
  assert clips.audio.dtype == np.float32
  np.testing.assert_allclose(rms, 4_000, rtol=0.05)


def test_clips_do_not_overlap(voices, make_config):
  clips = held_out.held_out(_config(make_config, voices, 8))
  record = source.open_source(voices, "validation", 24_000)[0]["audio"]
  starts = [
    next(
      at
      for at in range(0, len(record) - 24_000 + 1, 3_000)
      if np.array_equal(record[at : at + 24_000] / 32_768, clip[:, 0])
    )
    for clip in clips.audio
  ]
  assert np.diff(np.sort(starts)).min() >= 24_000


def test_too_few_records_give_fewer_clips(numbered, make_config):
  assert len(held_out.held_out(_config(make_config, numbered, 99)).audio) == 12


def test_training_clips_are_from_the_training_split(uneven, make_config):
  clips = held_out.train_clips(_config(make_config, uneven, 1), 5)
  assert len(clips.audio) == 5
  assert all(group.startswith("train/") for group in clips.group)


def test_a_source_without_the_split_is_left_out(uneven, voices, make_config):
  config = _config(make_config, f"{uneven},{voices}", 4)
  clips = held_out.held_out(config, split="test")
  assert set(clips.source_index) == {1}
  with pytest.raises(source.SplitMissing):
    held_out.held_out(_config(make_config, uneven, 4), split="test")


def test_records_that_are_all_too_short_give_the_numbers(numbered, make_config):
  with pytest.raises(errors.InputError, match=r"240000.*longest has 30000"):
    held_out.held_out(_config(make_config, numbered, 4, samples=240_000))


def test_silence_is_called_silence_and_not_too_short(tmp_path, make_config):
  def pieces():
    yield records.Piece("a", "", np.zeros(96_000, np.int16))

  records.write(
    tmp_path / "silent",
    pieces={"train": pieces, "validation": pieces},
    sample_rate_hz=24_000,
    details={},
  )
  config = _config(make_config, str(tmp_path / "silent"), 4)
  with pytest.raises(errors.InputError, match="is silent: of the records"):
    held_out.held_out(config)
  config = _config(make_config, str(tmp_path / "silent"), 4, samples=240_000)
  with pytest.raises(errors.InputError, match="Use shorter clips"):
    held_out.held_out(config)
