"""Laws of a workdir's files: whole or absent, pinned or pruned.

What is inside a checkpoint is tested with training and with the codec.
"""

import json
import threading
import time

import numpy as np
import pytest

from soundstream_jax import config, errors
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import integrity, manager
from soundstream_jax.checkpoint import weights as weights_lib

CONFIG = config.Config(num_steps=7)


def save(workdir, steps, **settings):
  """Writes checkpoints with one small array in each item."""
  checkpoints = manager.Checkpoints(workdir, config.Checkpoint(**settings))
  for step in steps:
    items = {
      name: {"value": np.full(3, step, np.float32)}
      for name in folder_lib.ITEMS
      if name != "meta"
    }
    checkpoints.save(step, items, config=CONFIG, data={"step": step})
  checkpoints.wait()
  checkpoints.close()


def test_a_saved_configuration_is_read_back_and_leaves_no_other_file(tmp_path):
  for run in (config.Config(), CONFIG):
    folder_lib.write_config(tmp_path, run)
    assert config.from_dict(folder_lib.read_config(tmp_path)) == run
  assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_without_a_run_has_nothing_and_reading_it_makes_nothing(
  tmp_path,
):
  for folder in (tmp_path, tmp_path / "absent"):
    assert folder_lib.read_config(folder) is None
    assert folder_lib.steps(folder) == []
    assert folder_lib.pinned(folder) == set()
    folder_lib.unpin(folder, 3)
    with pytest.raises(errors.InputError, match="holds no checkpoint"):
      weights_lib.restore(folder)
  assert list(tmp_path.iterdir()) == []


def test_a_damaged_configuration_is_bad_input_and_is_left_as_it_is(tmp_path):
  file = tmp_path / "config.json"
  file.write_text('{"num_steps": ')
  with pytest.raises(
    errors.InputError, match=r"config\.json is not valid JSON"
  ):
    folder_lib.read_config(tmp_path)
  assert file.read_text() == '{"num_steps": '


def test_what_is_restored_is_what_was_saved(tmp_path):
  save(tmp_path, [1, 2], keep=2)
  checkpoints = manager.Checkpoints(tmp_path, CONFIG.checkpoint)
  abstract = {
    name: {"value": np.zeros(3, np.float32)}
    for name in folder_lib.ITEMS
    if name != "meta"
  }
  assert checkpoints.latest_step() == 2
  for step in (1, 2):
    restored = checkpoints.restore(abstract, step)
    for name in abstract:
      np.testing.assert_array_equal(restored[name]["value"], step)
    assert restored["meta"] == folder_lib.read_meta(tmp_path, step)
    assert restored["meta"]["data"] == {"step": step}
    assert config.from_dict(restored["meta"]["config"]) == CONFIG
  checkpoints.close()


def test_the_newest_and_the_multiples_and_the_pins_are_kept(tmp_path):
  save(tmp_path, [1, 2, 3, 4], keep=2)
  assert folder_lib.steps(tmp_path) == [3, 4]
  folder_lib.pin(tmp_path, 3)
  assert folder_lib.pinned(tmp_path) == {3}
  save(tmp_path, [5, 6, 7, 8], keep=1, keep_every_steps=5)
  assert folder_lib.steps(tmp_path) == [3, 5, 8]
  folder_lib.unpin(tmp_path, 3)
  assert folder_lib.pinned(tmp_path) == set()
  save(tmp_path, [9], keep=1, keep_every_steps=5)
  assert folder_lib.steps(tmp_path) == [5, 9]


def test_only_finished_checkpoints_count(tmp_path):
  save(tmp_path, [4], keep=1)
  folder = tmp_path / "checkpoints"
  (folder / "5.orbax-checkpoint-tmp").mkdir()
  (folder / "6").mkdir()
  (folder / "notes.txt").touch()
  assert folder_lib.steps(tmp_path) == [4]


def test_a_step_that_is_not_there_is_refused_with_those_that_are(tmp_path):
  with pytest.raises(errors.InputError, match=r"step 3\. Present: none"):
    folder_lib.pin(tmp_path, 3)
  save(tmp_path, [4, 8], keep=2)
  with pytest.raises(errors.InputError, match=r"step 3\. Present: 4, 8"):
    folder_lib.pin(tmp_path, 3)
  with pytest.raises(errors.InputError, match=r"step 3\. Present: 4, 8"):
    weights_lib.restore(tmp_path, step=3)
  assert not (tmp_path / "pins").exists()


def test_weights_are_averaged_or_raw(tmp_path):
  with pytest.raises(errors.InputError, match="'best' is none of ema, raw"):
    weights_lib.restore(tmp_path, weights="best")


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
  save(tmp_path, [4], keep=1)
  path = tmp_path / "checkpoints/4/meta/metadata"
  meta = json.loads(path.read_text())
  path.write_text(json.dumps(meta | {"format_version": 1}))
  (tmp_path / "checkpoints/4" / integrity.SUMS).unlink()
  with pytest.raises(errors.InputError, match="format 1; this version reads 2"):
    weights_lib.restore(tmp_path)


def test_a_checkpoint_that_was_edited_is_refused(tmp_path):
  save(tmp_path, [4], keep=1)
  path = tmp_path / "checkpoints/4/meta/metadata"
  path.write_text(path.read_text() + " ")
  with pytest.raises(errors.InputError, match="meta/metadata has changed"):
    weights_lib.restore(tmp_path)


def test_a_save_that_failed_is_not_waited_for(tmp_path):
  """Its folder never gets its name."""
  ended = threading.Event()
  seal = threading.Thread(
    target=integrity.seal, args=(tmp_path / "7", ended), daemon=True
  )
  seal.start()
  time.sleep(0.1)
  assert seal.is_alive()
  ended.set()
  seal.join(timeout=5)
  assert not seal.is_alive()
  assert not (tmp_path / "7").exists()


def test_sums_that_cannot_be_written_are_a_warning(tmp_path, caplog):
  folder = tmp_path / "7"
  (folder / f"{integrity.SUMS}.tmp").mkdir(parents=True)
  (folder / "array").write_text("values")
  ended = threading.Event()
  ended.set()
  integrity.seal(folder, ended)
  (warning,) = caplog.records
  assert "checksums of step 7 could not be written" in warning.getMessage()
  assert "MB free" in warning.getMessage()
  assert integrity.damage(folder) is None
