"""The best checkpoint of a run, and checkpoints by seconds, while it trains."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import together

from benchmarks.faults import background_job
from soundstream_jax import errors
from soundstream_jax.checkpoint import best, integrity
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.train import loop, validation
from soundstream_jax.train import rollback as rollback_lib


@pytest.fixture
def config(small_config, voices):
  """Eight steps, of which the even ones are validated; saved at the end."""
  return small_config(
    **{
      "data.sources": voices,
      "num_steps": 8,
      "max_bad_steps": 2,
      "discriminator.start_step": 1_000,
      "evaluation.every_steps": 2,
      "checkpoint.every_steps": 1_000,
      "checkpoint.keep": 1,
      "checkpoint.best_of": "log_mel",
    }
  )


@pytest.fixture
def distances(monkeypatch):
  """Log-mel distances that the next validations find, in this order."""
  coming = []

  def measure(self, state):
    del state
    value = np.full((len(self.depths), len(self.clips)), coming.pop(0))
    return validation.Found(
      values={"log_mel": value, "si_sdr_db": -value},
      codes=np.zeros((len(self.clips), 1, 3), np.int32),
      shown=self.clips,
    )

  monkeypatch.setattr(validation.Validator, "measure", measure)
  return coming


def _with(config, group, **changes):
  changed = dataclasses.replace(getattr(config, group), **changes)
  return dataclasses.replace(config, **{group: changed})


def _held_out(workdir):
  """Step -> log-mel distance that its checkpoint carries, None without."""
  return {
    step: folder_lib.read_meta(workdir, step).get("held_out", {}).get("log_mel")
    for step in folder_lib.steps(workdir)
  }


@pytest.fixture
def damaged_batch(monkeypatch):
  """The batch of step 4 has a NaN."""
  following = loader_lib.Loader.__next__

  def read(self):
    damaged = self.step == 3
    batch = following(self)
    if damaged:
      batch.audio[0, 0] = np.nan
    return batch

  monkeypatch.setattr(loader_lib.Loader, "__next__", read)


def test_a_better_step_is_saved_although_none_is_due_unless_it_was_bad(
  config, distances, damaged_batch, tmp_path, caplog
):
  caplog.set_level("INFO")
  distances += [3.0, 1.0, np.nan, 3.0]
  assert loop.train(config, tmp_path) == 0
  assert "step 4 skipped" in caplog.text
  assert _held_out(tmp_path) == {2: 3.0, 8: 3.0}
  assert "step 2 is the best so far: log-mel distance 3.000" in caplog.text
  assert caplog.text.count("is the best so far") == 1
  assert weights_lib.restore(tmp_path, step="best").step == 2


@pytest.mark.slow
def test_a_run_that_kept_no_best_begins_to_on_resume(
  config, distances, tmp_path
):
  distances += [3.0, 1.0, 2.0, 2.0]
  without = _with(config, "checkpoint", best_of="", every_steps=2, keep=3)
  assert loop.train(without, tmp_path) == 0
  assert _held_out(tmp_path) == {4: 1.0, 6: 2.0, 8: 2.0}
  with pytest.raises(errors.InputError, match="it may be added on resume"):
    weights_lib.restore(tmp_path, step="best")
  # A run from before the held-out means were kept looks like this.
  meta = tmp_path / "checkpoints/6/meta/metadata"
  values = json.loads(meta.read_text())
  del values["held_out"]
  meta.write_text(json.dumps(values))
  (tmp_path / "checkpoints/6" / integrity.SUMS).unlink()
  distances += [1.5]
  assert loop.train(dataclasses.replace(config, num_steps=10), tmp_path) == 0
  assert _held_out(tmp_path) == {4: 1.0, 10: 1.5}


def test_what_a_rollback_sets_aside_is_not_the_best(
  config, distances, tmp_path
):
  distances += [3.0, 2.0, 1.0, 4.0]
  assert loop.train(config, tmp_path) == 0
  assert _held_out(tmp_path) == {6: 1.0, 8: 4.0}
  rollback_lib.write(
    tmp_path, rollback_lib.Rollback(target=0, next_batch=9, rollback_count=1)
  )
  distances += [7.0, 5.0, 6.0, 6.0]
  assert loop.train(config, tmp_path) == 0
  assert _held_out(tmp_path) == {4: 5.0, 8: 6.0}
  assert best.chosen(tmp_path, "best") == 4


@pytest.mark.slow
def test_saves_in_between_change_no_number(
  config, distances, saved_arrays, tmp_path
):
  plain, often = tmp_path / "plain", tmp_path / "often"
  never = _with(config, "checkpoint", best_of="")
  distances += [4.0, 5.0, 6.0, 7.0]
  assert loop.train(never, plain) == 0
  assert folder_lib.steps(plain) == [8]
  distances += [4.0, 5.0, 6.0, 7.0]
  by_seconds = _with(config, "checkpoint", every_seconds=1e-6, keep=9)
  assert loop.train(by_seconds, often) == 0
  # The best, one that is due by seconds, and the last.
  assert _held_out(often) == {2: 4.0, 4: 5.0, 8: 7.0}
  one, other = saved_arrays(plain, 8), saved_arrays(often, 8)
  assert one.keys() == other.keys()
  assert len(one) > 50
  for name, array in one.items():
    np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_an_unknown_metric_is_refused_before_anything_is_written(
  config, tmp_path
):
  wrong = _with(config, "checkpoint", best_of="log_mell")
  with pytest.raises(
    errors.InputError,
    match=r"best_of='log_mell' .* mean 'log_mel'\? .*log_mel, si_sdr_db",
  ):
    loop.train(wrong, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_a_metric_that_training_does_not_measure_is_refused():
  with pytest.raises(errors.InputError) as caught:
    best.check_metric("visqol_audio")
  assert str(caught.value) == (
    "checkpoint.best_of='visqol_audio' is measured by evaluation, not while "
    "training. Use one of log_mel, si_sdr_db, or '' for none."
  )


def test_a_best_without_held_out_clips_is_refused(config, tmp_path):
  absent = _with(config, "evaluation", split="absent")
  with pytest.raises(
    errors.InputError, match=r"best_of=log_mel needs held-out clips: .*absent"
  ):
    loop.train(absent, tmp_path / "run")
  assert not (tmp_path / "run").exists()


# Training, of which process 1 measures other distances than the primary, and
# has a clock that never comes to a checkpoint.
DISAGREEING = """
import math, runpy, sys, time, types
import numpy as np
from soundstream_jax.train import saves, validation
found = [[3.0, 1.0, 2.0, 1.5], [1.0, 2.0, 0.5, math.nan]]
process = int(sys.argv[-1].partition("=")[2])
def measure(self, state):
  value = np.full((len(self.depths), len(self.clips)), found[process].pop(0))
  return validation.Found(
    values={"log_mel": value, "si_sdr_db": -value},
    codes=np.zeros((len(self.clips), 1, 3), np.int32),
    shown=self.clips,
  )
validation.Validator.measure = measure
if process:
  saves.time = types.SimpleNamespace(monotonic=lambda: 0.0, sleep=time.sleep)
runpy.run_module("soundstream_jax.train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_processes_that_measure_otherwise_save_what_the_primary_says(
  small_overrides, voices, tmp_path
):
  workdir = tmp_path / "run"
  overrides = {
    **small_overrides,
    "data.sources": voices,
    "num_steps": 16,
    "mesh.data": -1,
    "discriminator.start_step": 1_000,
    "evaluation.every_steps": 4,
    "checkpoint.every_steps": 1_000,
    "checkpoint.every_seconds": 1e-6,
    "checkpoint.keep": 9,
    "checkpoint.best_of": "log_mel",
  }
  command = [
    *(sys.executable, "-c", DISAGREEING, "--config=tiny"),
    *(f"--config.{name}={value}" for name, value in overrides.items()),
    *(
      f"--workdir={workdir}",
      f"--coordinator=127.0.0.1:{together.free_port()}",
    ),
    "--num_processes=2",
  ]
  logs = [tmp_path / f"{index}.log" for index in range(2)]
  flags = background_job.QUICK_COMPILATION
  processes = []
  try:
    for index, log in enumerate(logs):
      with log.open("w") as file:
        processes.append(
          subprocess.Popen(
            [*command, f"--process_id={index}"],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=file,
            stderr=file,
          )
        )
    for process, log in zip(processes, logs, strict=True):
      assert process.wait(timeout=150) == 0, log.read_text()[-5000:]
  finally:
    for process in processes:
      process.kill()
      process.wait()
  assert _held_out(workdir) == {4: 3.0, 8: 1.0, 9: None, 14: None, 16: 1.5}
  assert best.chosen(workdir, "best") == 8
