"""Mixtures of datasets, through the loader: shares, parts and what is missing."""

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.data import dataset_folder, held_out, loader, mixtures


def _config(make_config, voices, noises, **more):
  return make_config(
    "",
    **{
      "model.film": "encoder",
      "data.speech": voices,
      "data.noise": noises,
      "data.music": voices,
      "data.mixture.speech": 1.0,
      "data.mixture.noisy_speech": 2.0,
      "data.mixture.music": 1.0,
      "data.crop_samples": 4_800,
      "data.denoise_share": 0.5,
      "batch_size": 8,
      **more,
    },
  )


def _take(config, count, rows=None):
  with loader.train_loader(config, rows=rows) as batches:
    return [next(batches) for _ in range(count)]


def test_a_batch_has_input_target_and_flag(make_config, voices, noises):
  (batch,) = _take(_config(make_config, voices, noises), 1)
  assert batch.audio.shape == batch.target.shape == (8, 4_800, 1)
  assert batch.audio.dtype == batch.target.dtype == np.float32
  assert batch.denoise.shape == (8,)
  assert batch.denoise.dtype == np.bool_


def test_half_of_the_mixture_is_noisy_and_half_of_that_to_be_denoised(
  make_config, voices, noises
):
  batches = _take(_config(make_config, voices, noises), 30)
  paired = np.concatenate(
    [np.any(b.audio != b.target, axis=(1, 2)) for b in batches]
  )
  flags = np.concatenate([b.denoise for b in batches])
  assert not np.any(paired & ~flags)
  assert 0.15 < paired.mean() < 0.35
  assert 0.4 < flags.mean() < 0.6


@pytest.mark.parametrize("shares", [[range(0, 4), range(4, 8)], [(7, 0), (3,)]])
def test_processes_read_their_rows_of_the_one_mixture(
  make_config, voices, noises, shares
):
  config = _config(make_config, voices, noises)
  whole = _take(config, 3)
  for rows in shares:
    for ours, all_rows in zip(_take(config, 3, rows), whole, strict=True):
      for part, everything in zip(ours, all_rows, strict=True):
        np.testing.assert_array_equal(part, everything[list(rows)])


@pytest.mark.slow
def test_worker_processes_make_the_same_examples(make_config, voices, noises):
  alone = _take(_config(make_config, voices, noises), 4)
  config = _config(make_config, voices, noises, **{"data.num_workers": 2})
  for ours, theirs in zip(_take(config, 4), alone, strict=True):
    for part, other in zip(ours, theirs, strict=True):
      np.testing.assert_array_equal(part, other)


def test_a_share_is_divided_among_the_datasets_of_its_kind(
  make_config, voices, noises
):
  config = _config(
    make_config, voices, noises, **{"data.speech": f"{voices}:3,{noises}:1"}
  )
  ingredients = mixtures.ingredients(config, "train")
  weights = [(i.example.kind.name, i.weight) for i in ingredients]
  assert weights == [
    ("speech", 0.75),
    ("speech", 0.25),
    ("noisy_speech", 1.5),
    ("noisy_speech", 0.5),
    ("music", 1.0),
  ]


@pytest.mark.parametrize("name", ["speech", "noise", "music"])
def test_a_missing_dataset_names_the_share_that_needs_it(
  make_config, voices, noises, name
):
  config = _config(make_config, voices, noises, **{f"data.{name}": ""})
  with pytest.raises(errors.InputError, match=rf"data\.{name} is empty, but"):
    loader.train_loader(config)


def test_nothing_is_learned_from_silence(
  make_config, voices, noises, monkeypatch
):
  monkeypatch.setattr(
    dataset_folder, "bandwidths", lambda *_: np.zeros(10_000, np.float32)
  )
  with pytest.raises(errors.InputError, match=r"data\.\w+: every .* is silent"):
    loader.train_loader(_config(make_config, voices, noises))


def test_noisy_clips_have_the_ratio_and_are_always_the_same(
  make_config, voices, noises
):
  config = _config(make_config, voices, noises)
  clips = held_out.noisy(config, split="test", num=3, snr_db=5.0)
  again = held_out.noisy(config, split="test", num=3, snr_db=5.0)
  np.testing.assert_array_equal(clips.audio, again.audio)
  clean, noise = clips.clean.audio, clips.audio - clips.clean.audio
  ratio = np.sum(clean**2, axis=1) / np.sum(noise**2, axis=1)
  np.testing.assert_allclose(10 * np.log10(ratio), 5.0, atol=1e-2)
  assert np.abs(clips.audio).max() <= 1
  trained = {
    record["group"]
    for record in mixtures.ingredients(config, "train")[0].source
  }
  assert not trained & set(clips.clean.group)
