"""A killed run resumes as if nothing had happened."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from benchmarks.faults import background_job
from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.checkpoint import manager
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.train import compiled, loop
from soundstream_jax.train import progress as progress_lib

# Steps without discriminators compile in a third of the time; for laws of the
# loop and of checkpoints that are the same for both.
RECONSTRUCTION = {"discriminator.start_step": 1_000}


def _flags(overrides, voices, workdir, **more):
  values = {**overrides, "data.sources": voices, **more}
  return [
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in values.items()),
  ]


def _command(flags, *, preset="tiny"):
  return [
    sys.executable,
    "-m",
    "soundstream_jax.train",
    *([f"--config={preset}"] if preset else []),
    *flags,
  ]


def _environment():
  # One device, as on a user's machine.
  flags = background_job.QUICK_COMPILATION
  return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def _run(command, **options):
  return subprocess.run(
    command,
    env=_environment(),
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
    **options,
  )


def test_three_steps_killed_and_three_more_equal_six(
  small_overrides, voices, saved_arrays, tmp_path
):
  whole, halves = tmp_path / "whole", tmp_path / "halves"
  cache = tmp_path / "cache"
  shared = {"compilation_cache": cache}
  result = _run(_command(_flags(small_overrides, voices, whole, **shared)))
  assert result.returncode == 0, result.stderr
  # The second run is killed, not stopped, once step 3 is on disk.
  endless = _flags(small_overrides, voices, halves, num_steps=400, **shared)
  process = subprocess.Popen(
    _command(endless), env=_environment(), stderr=subprocess.DEVNULL
  )
  try:
    deadline = time.monotonic() + 240
    while not folder_lib.steps(halves) and time.monotonic() < deadline:
      time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
  finally:
    process.kill()
    process.wait()
  # Whatever the killed run had begun after step 3 does not count.
  for step in folder_lib.steps(halves)[1:]:
    shutil.rmtree(halves / "checkpoints" / str(step))
  assert folder_lib.steps(halves) == [3]
  result = _run(_command(_flags({}, voices, halves, num_steps=6), preset=None))
  assert result.returncode == 0, result.stderr
  assert "resuming" in result.stderr
  one, other = saved_arrays(whole, 6), saved_arrays(halves, 6)
  assert one.keys() == other.keys()
  assert len(one) > 100
  for name, array in one.items():
    np.testing.assert_array_equal(array, other[name], err_msg=name)
  # The compiled program came from the cache; a damaged entry is ignored.
  entries = [p for p in cache.rglob("*") if p.is_file()]
  assert entries
  for entry in entries:
    entry.write_bytes(b"damaged" + entry.read_bytes()[7:40])
  result = _run(_command(_flags({}, voices, halves, num_steps=7), preset=None))
  assert result.returncode == 0, result.stderr
  assert folder_lib.steps(halves)[-1] == 7


@pytest.fixture(scope="module")
def trained(small_config, voices, tmp_path_factory):
  """(config, workdir) of a finished run of six steps, in this process."""
  workdir = tmp_path_factory.mktemp("runs") / "trained"
  config = small_config(**{"data.sources": voices})
  assert loop.train(config, workdir) == 0
  return config, workdir


def test_discriminators_join_at_their_start_step(
  small_config, voices, tmp_path
):
  config = small_config(
    **{"data.sources": voices, "discriminator.start_step": 2, "num_steps": 3}
  )
  assert loop.train(config, tmp_path / "run") == 0
  rows = [
    json.loads(line)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  ]
  losses = [r["loss/adversarial"] for r in rows if "loss/adversarial" in r]
  assert losses[:2] == [0, 0]
  assert losses[2] > 0


def test_sigterm_saves_the_step_and_exits_with_its_own_code(
  small_config, voices, tmp_path, monkeypatch
):
  config = small_config(
    **{
      "data.sources": voices,
      "checkpoint.every_steps": 1_000,
      **RECONSTRUCTION,
    }
  )
  read = progress_lib.read

  def and_then_stop(progress, outputs):
    if progress.pending[0].step == 2:
      os.kill(os.getpid(), signal.SIGTERM)
    return read(progress, outputs)

  monkeypatch.setattr(progress_lib, "read", and_then_stop)
  before = signal.getsignal(signal.SIGTERM)
  assert loop.train(config, tmp_path / "run") == errors.EXIT_PREEMPTED
  assert signal.getsignal(signal.SIGTERM) is before
  assert folder_lib.steps(tmp_path / "run") == [3]


def test_a_checkpoint_starts_once_the_device_has_its_next_step(
  small_config, voices, tmp_path, monkeypatch
):
  events = []
  call, save = compiled.Compiled.__call__, manager.Checkpoints.save

  def noted_call(self, *arguments):
    events.append("step")
    return call(self, *arguments)

  def noted_save(self, step, *args, **options):
    events.append(f"save {step}")
    return save(self, step, *args, **options)

  monkeypatch.setattr(compiled.Compiled, "__call__", noted_call)
  monkeypatch.setattr(manager.Checkpoints, "save", noted_save)
  settings = {"num_steps": 5, "checkpoint.every_steps": 2}
  config = small_config(
    **{"data.sources": voices, **settings, **RECONSTRUCTION}
  )
  assert loop.train(config, tmp_path / "run") == 0
  assert events == [*3 * ["step"], "save 2", *2 * ["step"], "save 4", "save 5"]
  for step in (2, 4, 5):
    assert folder_lib.read_meta(tmp_path / "run", step)["step"] == step


def test_logs_say_speed_losses_and_codebook_use(trained):
  _, workdir = trained
  rows = [
    json.loads(line)
    for line in (workdir / "metrics.jsonl").read_text().splitlines()
  ]
  steps = [row["step"] for row in rows if "loss/reconstruction" in row]
  assert steps == [1, 2, 3, 4, 5, 6]
  last = [row for row in rows if "loss/reconstruction" in row][-1]
  for name in (
    "codebook/perplexity/00",
    "codebook/dead/02",
    "speed/steps_per_second",
    "speed/audio_seconds_per_second",
    "speed/data_wait_share",
    "gradient_norm/generator",
  ):
    assert np.isfinite(last[name]), name


def test_another_configuration_stops_with_the_difference(trained):
  config, workdir = trained
  other = dataclasses.replace(
    config,
    optimizer=dataclasses.replace(config.optimizer, learning_rate=1.0),
  )
  with pytest.raises(
    errors.InputError, match=r"optimizer.learning_rate: .* -> 1.0"
  ):
    loop.train(other, workdir)


def test_what_may_change_on_resume_may_change(trained):
  config, workdir = trained
  other = dataclasses.replace(
    config,
    num_steps=6,
    mesh=config_lib.Mesh(data=2),
    checkpoint=config_lib.Checkpoint(every_steps=100, keep=9),
  )
  assert loop.train(other, workdir) == 0


def test_warm_start_takes_weights_with_fresh_optimizers(
  trained, small_config, voices, tmp_path
):
  _, workdir = trained
  config = small_config(
    **{
      "data.sources": voices,
      "init_from": str(workdir),
      "num_steps": 1,
      "optimizer.learning_rate": 0.0,
      **RECONSTRUCTION,
    }
  )
  assert loop.train(config, tmp_path / "warm") == 0
  theirs = weights_lib.restore(workdir, weights="raw")
  ours = weights_lib.restore(tmp_path / "warm", weights="raw")
  for a, b in zip(
    jax.tree.leaves(theirs.params), jax.tree.leaves(ours.params), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_warm_start_refuses_another_model(
  trained, small_config, voices, tmp_path
):
  _, workdir = trained
  config = small_config(
    **{
      "data.sources": voices,
      "init_from": str(workdir),
      "model.encoder_channels": 8,
    }
  )
  with pytest.raises(errors.InputError, match="encoder_channels=4"):
    loop.train(config, tmp_path / "warm")


def test_pinned_checkpoints_are_never_pruned(small_config, voices, tmp_path):
  config = small_config(
    **{
      "data.sources": voices,
      "checkpoint.every_steps": 1,
      "checkpoint.keep": 1,
      "num_steps": 2,
      **RECONSTRUCTION,
    }
  )
  assert loop.train(config, tmp_path / "run") == 0
  folder_lib.pin(tmp_path / "run", 2)
  longer = dataclasses.replace(config, num_steps=5)
  assert loop.train(longer, tmp_path / "run") == 0
  assert folder_lib.steps(tmp_path / "run") == [2, 5]
