"""Laws of a workdir's files: whole or absent, pinned or pruned.

What is inside a checkpoint is tested with training and with the codec.
"""

import dataclasses
import json
import math
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from soundstream_jax import config, errors, whole_files
from soundstream_jax.checkpoint import best, integrity, manager
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import weights as weights_lib

CONFIG = config.Config(num_steps=7)


def save(workdir, steps, *, held_out=None, **settings):
  """Writes checkpoints with one small array in each item.

  Args:
    workdir: of the run.
    steps: of the checkpoints.
    held_out: step -> metric -> mean, of those that were validated.
    **settings: of config.checkpoint.
  """
  checkpoints = manager.Checkpoints(workdir, config.Checkpoint(**settings))
  for step in steps:
    items = {
      name: {"value": np.full(3, step, np.float32)}
      for name in folder_lib.ITEMS
      if name != "meta"
    }
    checkpoints.save(
      step,
      items,
      config=CONFIG,
      data={"step": step},
      held_out=(held_out or {}).get(step),
    )
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
  assert folder_lib.steps(tmp_path) == [1, 2]
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


def by_metric(name, values):
  return {step: {name: value} for step, value in values.items()}


def keep_best(workdir, name, values, *, steps=None, **settings):
  """Saves steps 1, 2, ... of a run that keeps its best by a metric."""
  save(
    workdir,
    values if steps is None else steps,
    held_out=by_metric(name, values),
    **{"keep": 1, "best_of": name, **settings},
  )
  run = dataclasses.replace(CONFIG, checkpoint=config.Checkpoint(best_of=name))
  folder_lib.write_config(workdir, run)


@pytest.mark.parametrize(
  ("name", "values", "step"),
  [
    ("log_mel", {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5}, 2),
    ("si_sdr_db", {1: 3.0, 2: 5.0, 3: -2.0, 4: 4.0}, 2),
  ],
)
def test_the_best_is_kept_beside_the_newest_in_its_metrics_direction(
  tmp_path, name, values, step
):
  keep_best(tmp_path, name, values)
  assert folder_lib.steps(tmp_path) == [step, 4]
  assert best.chosen(tmp_path, "best") == step
  assert folder_lib.read_meta(tmp_path, step)["held_out"] == {
    name: values[step]
  }


def test_of_equals_the_earlier_is_best_and_no_nan_ever_is():
  nan, inf = math.nan, math.inf
  for name, values, step in (
    ("log_mel", {1: 2.0, 2: 1.0, 3: 1.0}, 2),
    ("log_mel", {1: nan, 2: 1.0, 3: nan}, 2),
    ("si_sdr_db", {1: inf, 2: 1.0, 3: -inf}, 2),
    ("log_mel", {3: -inf, 2: 1.0, 1: 1.0}, 1),
    ("log_mel", {1: nan, 2: inf}, None),
    ("log_mel", {}, None),
  ):
    assert best.of(by_metric(name, values), name) == step, values
  assert best.of({1: {"si_sdr_db": 1.0}}, "log_mel") is None


def test_an_equal_or_a_nan_is_no_improvement(tmp_path):
  record = best.Record(tmp_path, "log_mel")
  assert not record.improves({"log_mel": math.nan})
  assert record.improves({"log_mel": 2.0})
  record.note(5, {"log_mel": 2.0})
  assert not record.improves({"log_mel": 2.0})
  assert not record.improves({"log_mel": math.nan})
  assert not record.improves({})
  assert record.improves({"log_mel": 1.9})
  assert not best.Record(tmp_path, "").improves({"log_mel": 1.9})


def test_a_run_that_goes_on_knows_its_best_from_the_disk(tmp_path):
  keep_best(tmp_path, "log_mel", {1: 3.0, 2: 1.0, 3: 2.0})
  keep_best(tmp_path, "log_mel", {4: 1.5, 5: 1.0}, steps=[4, 5])
  assert folder_lib.steps(tmp_path) == [2, 5]
  keep_best(tmp_path, "log_mel", {6: 0.5, 7: 0.7}, steps=[6, 7])
  assert folder_lib.steps(tmp_path) == [6, 7]
  # By another metric, which none of these has, none of them is the best.
  save(tmp_path, [8], keep=1, best_of="si_sdr_db")
  assert folder_lib.steps(tmp_path) == [8]


def test_checkpoints_without_a_measurement_are_no_candidates(tmp_path):
  keep_best(tmp_path, "log_mel", {2: 9.0}, steps=[1, 2, 3, 4])
  assert folder_lib.steps(tmp_path) == [2, 4]
  assert best.measured(tmp_path) == {2: {"log_mel": 9.0}}


def test_a_damaged_best_is_refused_and_no_longer_counts(tmp_path, caplog):
  keep_best(tmp_path, "log_mel", {1: 1.0, 2: 2.0, 3: 3.0}, keep=3)
  array = tmp_path / "checkpoints/1/ema_params/manifest.ocdbt"
  array.write_bytes(array.read_bytes()[:-1] + b"?")
  with pytest.raises(errors.InputError, match=r"step 1 .*damaged.*--step=3"):
    weights_lib.restore(tmp_path, step="best")
  keep_best(tmp_path, "log_mel", {4: 2.5}, steps=[4])
  assert "the best by log_mel, is damaged" in caplog.text
  assert folder_lib.steps(tmp_path) == [2, 4]
  assert best.chosen(tmp_path, "best") == 2


# A disk that takes no file of 200 kB: step 3, the new best, does not get there.
FAILING = """
import resource, sys
import numpy as np
from soundstream_jax import config
from soundstream_jax.checkpoint import folder, manager
checkpoints = manager.Checkpoints(
  sys.argv[1], config.Checkpoint(keep=1, best_of="log_mel")
)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
noise = np.random.default_rng(0).standard_normal(100_000)
items = {n: {"value": noise} for n in folder.ITEMS if n != "meta"}
checkpoints.save(
  3, items, config=config.Config(), data={}, held_out={"log_mel": 0.5}
)
checkpoints.wait()
"""


def test_the_old_best_outlives_a_better_one_whose_save_fails(tmp_path):
  keep_best(tmp_path, "log_mel", {1: 1.0, 2: 2.0})
  assert folder_lib.steps(tmp_path) == [1, 2]
  failing = subprocess.run(
    [sys.executable, "-c", FAILING, tmp_path],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert failing.returncode != 0
  assert "File too large" in failing.stderr
  assert folder_lib.steps(tmp_path) == [1, 2]
  assert best.chosen(tmp_path, "best") == 1
  keep_best(tmp_path, "log_mel", {3: 0.5, 4: 0.7}, steps=[3, 4])
  assert folder_lib.steps(tmp_path) == [3, 4]


def test_a_step_is_a_number_or_best(tmp_path):
  assert [best.parse(text) for text in ("0", "12", "best")] == [0, 12, "best"]
  for text in ("", "-1", "1.5", "Best", "newest", "²", "1_0"):
    with pytest.raises(errors.InputError, match=r"not a whole number.*'best'"):
      best.parse(text)
  save(tmp_path, [4], keep=1)
  with pytest.raises(errors.InputError, match="'first' is not a whole number"):
    weights_lib.restore(tmp_path, step="first")


def test_a_best_that_nothing_tells_is_refused_with_what_is_there(tmp_path):
  save(tmp_path, [4, 8], keep=2)
  with pytest.raises(
    errors.InputError, match=r"best_of=NAME \(one of log_mel, .*Present: 4, 8"
  ):
    best.chosen(tmp_path, "best")
  keep_best(tmp_path, "log_mel", {}, steps=[9])
  with pytest.raises(
    errors.InputError, match=r"no checkpoint .* held-out log_mel.*Present: 9"
  ):
    best.chosen(tmp_path, "best")


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


def test_sums_that_cannot_be_written_are_a_warning(
  tmp_path, caplog, monkeypatch
):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(whole_files.os, "replace", full)
  folder = tmp_path / "7"
  folder.mkdir()
  (folder / "array").write_text("values")
  ended = threading.Event()
  ended.set()
  integrity.seal(folder, ended)
  (warning,) = caplog.records
  assert "checksums of step 7 could not be written" in warning.getMessage()
  assert "MB free" in warning.getMessage()
  assert integrity.damage(folder) is None
