"""Rollbacks after bad steps, and damaged checkpoints, killed or not."""

import dataclasses
import os
import shutil

import jax
import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import integrity
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.train import loop
from soundstream_jax.train import rollback as rollback_lib


class Killed(Exception):
  """Stands for the end of the process at that point."""


@pytest.fixture
def config(small_config, voices):
  """Ten steps, saved after every second; the discriminators never start."""
  return make_config(small_config, voices)


def make_config(small_config, voices):
  return small_config(
    **{
      "data.sources": voices,
      "num_steps": 10,
      "max_bad_steps": 3,
      "max_rollbacks": 2,
      "discriminator.start_step": 1_000,
      "checkpoint.every_steps": 2,
      "checkpoint.keep": 10,
    }
  )


@pytest.fixture
def damaged_batches(monkeypatch):
  """Returns (indices that hold a NaN, indices that were read)."""
  return damage_batches(monkeypatch, set())


def damage_batches(patch, bad):
  taken = []
  following = loader_lib.Loader.__next__

  def read(self):
    index = self.step
    batch = following(self)
    taken.append(index)
    if index in bad:
      batch.audio[0, 0] = np.nan
    return batch

  patch.setattr(loader_lib.Loader, "__next__", read)
  return bad, taken


@pytest.fixture
def counters(saved_arrays):
  """Returns a function (workdir, step) -> (data_offset, rollback_count)."""

  def read(workdir, step):
    arrays = saved_arrays(workdir, step)
    return tuple(
      int(arrays[f"trainer['{name}']"])
      for name in ("data_offset", "rollback_count")
    )

  return read


def test_bad_steps_roll_back_and_go_on_with_other_data(
  config, tmp_path, damaged_batches, counters, caplog
):
  bad, taken = damaged_batches
  bad.update((5, 6, 7))
  assert loop.train(config, tmp_path) == 0
  # Batches 5, 6, 7 fail as steps 6, 7, 8; one more is under way. Then back to
  # step 4, from before them, and on with batch 9.
  assert "Back to step 4, on with batch 9" in caplog.text
  assert taken[-6:] == [9, 10, 11, 12, 13, 14]
  assert folder_lib.steps(tmp_path) == [2, 4, 6, 8, 10]
  assert counters(tmp_path, 10) == (5, 1)
  assert counters(tmp_path, 4) == (0, 0)


def test_checkpoints_after_the_target_are_set_aside(config, tmp_path, counters):
  assert loop.train(config, tmp_path) == 0
  rollback_lib.write(
    tmp_path, rollback_lib.Rollback(target=4, next_batch=20, rollback_count=1)
  )
  assert loop.train(config, tmp_path) == 0
  assert sorted(p.name for p in (tmp_path / "set_aside").iterdir()) == [
    "10-rollback1",
    "6-rollback1",
    "8-rollback1",
  ]
  assert counters(tmp_path, 10) == (16, 1)


@pytest.mark.parametrize("most", [0, 2])
def test_rollbacks_are_bounded_and_the_reason_is_said(
  config, tmp_path, damaged_batches, caplog, most
):
  config = dataclasses.replace(config, max_rollbacks=most)
  bad, _ = damaged_batches
  bad.update(range(5, 1_000))
  assert loop.train(config, tmp_path) == errors.EXIT_BAD_STEPS
  assert caplog.text.count("rolling back") == most
  assert f"rolling back ({most} of {most})" in caplog.text or not most
  assert "the first bad term is audio" in caplog.text
  assert f"max_rollbacks={most}" in caplog.text
  newest = weights_lib.restore(tmp_path, weights="raw").params
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(newest))


@pytest.mark.slow
def test_a_second_rollback_in_place_goes_one_checkpoint_further(
  config, tmp_path, damaged_batches, caplog
):
  bad, _ = damaged_batches
  bad.update(range(5, 12))
  assert loop.train(config, tmp_path) == 0
  assert "Back to step 4, on with batch 9" in caplog.text
  assert "Back to step 2, on with batch 13" in caplog.text


@pytest.mark.slow
def test_without_a_checkpoint_a_rollback_is_a_new_beginning(
  config, tmp_path, damaged_batches, counters
):
  bad, taken = damaged_batches
  bad.update((1, 2, 3))
  assert loop.train(config, tmp_path) == 0
  assert taken[:6] == [0, 0, 1, 2, 3, 4]  # k-means, then steps
  assert taken[6:8] == [5, 5]
  assert counters(tmp_path, 10) == (5, 1)


# Where a kill can leave a rollback half done.
MOMENTS = [
  (rollback_lib, "plan"),
  (rollback_lib, "write"),
  (rollback_lib.os, "rename"),
  (loop.rollback, "prepare"),
  (loop.start, "state"),
]


@pytest.fixture(scope="module")
def unharmed(small_config, voices, saved_arrays, tmp_path_factory):
  """The arrays after a rollback that nothing disturbed."""
  workdir = tmp_path_factory.mktemp("unharmed") / "run"
  with pytest.MonkeyPatch.context() as patch:
    damage_batches(patch, {5, 6, 7})
    assert loop.train(make_config(small_config, voices), workdir) == 0
  return saved_arrays(workdir, 10)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_a_rollback_killed_anywhere_ends_as_if_it_had_not_been(
  config,
  unharmed,
  saved_arrays,
  tmp_path,
  damaged_batches,
  monkeypatch,
  moment,
  after,
):
  bad, _ = damaged_batches
  bad.update((5, 6, 7))
  killed = tmp_path / "killed"
  module, name = MOMENTS[moment]
  real, calls = getattr(module, name), []

  def dying(*args, **options):
    # A first start prepares and begins too; only the rollback's call dies.
    calls.append(name)
    if name in ("prepare", "state") and len(calls) == 1:
      return real(*args, **options)
    if after:
      real(*args, **options)
    raise Killed

  if name == "rename":  # nothing to set aside without a newer checkpoint
    rollback_lib.write(
      killed_after(config, killed, bad),
      rollback_lib.Rollback(target=4, next_batch=9, rollback_count=1),
    )
  with monkeypatch.context() as patch:
    patch.setattr(module, name, dying)
    with pytest.raises(Killed):
      loop.train(config, killed)
  assert loop.train(config, killed) == 0
  assert rollback_lib.read(killed).rollback_count == 1
  other = saved_arrays(killed, 10)
  for path, array in unharmed.items():
    np.testing.assert_array_equal(array, other[path], err_msg=path)


def killed_after(config, workdir, bad):
  """A run whose steps 6 and 8 were saved although their data was bad."""
  kept = set(bad)
  bad.clear()
  assert loop.train(config, workdir) == 0
  bad.update(kept)
  return workdir


def _truncate(path):
  os.truncate(path, path.stat().st_size // 2)


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def finished(small_config, voices, tmp_path_factory):
  """(config, workdir) with checkpoints of steps 2, 4 and 6."""
  workdir = tmp_path_factory.mktemp("finished") / "run"
  config = small_config(
    **{
      "data.sources": voices,
      "discriminator.start_step": 1_000,
      "checkpoint.every_steps": 2,
    }
  )
  assert loop.train(config, workdir) == 0
  assert folder_lib.steps(workdir) == [2, 4, 6]
  return config, workdir


@pytest.mark.parametrize("harm", [_truncate, _flip, os.remove])
@pytest.mark.parametrize("item", ["params", "trainer", "meta"])
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_used(
  finished, tmp_path, caplog, harm, item
):
  _, workdir = finished
  run = tmp_path / "run"
  shutil.copytree(workdir, run)
  folder = run / "checkpoints/6" / item
  largest = max(
    (path for path in folder.rglob("*") if path.is_file()),
    key=lambda path: path.stat().st_size,
  )
  harm(largest)
  rollback_lib.prepare(run)
  assert folder_lib.steps(run) == [2, 4]
  assert (run / "set_aside/6-damaged").is_dir()
  assert "the checkpoint of step 6 is damaged: " + item in caplog.text


def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(
  finished, saved_arrays, tmp_path
):
  config, workdir = finished
  run = tmp_path / "run"
  shutil.copytree(workdir, run)
  shutil.rmtree(run / "checkpoints/6/meta")
  assert loop.train(config, run) == 0
  one, other = saved_arrays(workdir, 6), saved_arrays(run, 6)
  for path, array in one.items():
    np.testing.assert_array_equal(array, other[path], err_msg=path)


def test_a_codec_refuses_damaged_parameters_and_names_another_step(
  finished, tmp_path
):
  _, workdir = finished
  run = tmp_path / "run"
  shutil.copytree(workdir, run)
  for path in (run / "checkpoints/6/ema_params").rglob("*"):
    if path.is_file():
      _flip(path)
  with pytest.raises(errors.InputError, match=r"damaged: .*Use --step=4"):
    weights_lib.restore(run)
  assert weights_lib.restore(run, step=4).step == 4


def test_every_finished_checkpoint_is_summed_up(finished):
  _, workdir = finished
  for step in folder_lib.steps(workdir):
    folder = workdir / "checkpoints" / str(step)
    assert len((folder / integrity.SUMS).read_text().splitlines()) > 10
    assert folder_lib.damage(workdir, step) is None
