"""The evaluation's controls, criteria and command."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from soundstream_jax import errors, metrics, whole_files
from soundstream_jax.audio import wav
from soundstream_jax.cli import main as cli
from soundstream_jax.evaluate import (
  evaluator,
  logs,
  pictures,
  summary,
)
from soundstream_jax.evaluate.measuring import (
  clip_set,
  controls,
  store,
)
from soundstream_jax.evaluate.systems import system as system_lib
from soundstream_jax.metrics import log_mel
from soundstream_jax.train import loop


def test_swapped_codes_come_from_another_clip_of_the_class():
  classes = [0, 1, 0, 2, 1, 0]
  partners = controls.partners(classes)
  assert all(partner != index for index, partner in enumerate(partners))
  for index in (0, 1, 2, 4, 5):
    assert classes[partners[index]] == classes[index]
  assert controls.partners([0]) == [0]


def test_stationary_noise_has_the_mean_spectrum_of_the_training_clips():
  rng = np.random.default_rng(0)
  white = rng.normal(size=(6, 48_000))
  coloured = np.stack([np.convolve(w, [1, 0.9], "same") for w in white])
  coloured = 0.05 * coloured[:, :, None].astype(np.float32)
  spectrum = controls.spectrum(coloured)
  noise = np.stack([spectrum.noise(48_000, seed=i) for i in range(6)])
  assert len(np.unique(noise[:, 0])) == 6
  # The same process from another seed is as close as noise can be.
  other = np.roll(coloured, 1, axis=0)
  chance = log_mel.distance(coloured, other, sample_rate_hz=24_000).mean()
  reached = log_mel.distance(
    coloured, noise[:, :, None], sample_rate_hz=24_000
  ).mean()
  assert reached < 1.05 * chance


@pytest.fixture(scope="module")
def evaluated(small_config, voices, tmp_path_factory):
  """(folder, values, output) of the command on a small run."""
  workdir = tmp_path_factory.mktemp("evaluated") / "run"
  config = small_config(
    **{"data.sources": voices, "num_steps": 2, "evaluation.at_steps": (1,)}
  )
  assert loop.train(config, workdir) == 0
  out = workdir / "evaluation"
  result = _run(f"--workdir={workdir}", f"--out={out}", "--baselines=low_pass")
  assert result.returncode == 0, result.stderr
  return out, json.loads((out / "evaluation.json").read_text()), result.stdout


def _run(*words):
  return subprocess.run(
    [sys.executable, "-m", "soundstream_jax.evaluate", *words],
    capture_output=True,
    text=True,
  )


def test_the_command_writes_numbers_sound_and_pictures(evaluated):
  out, values, stdout = evaluated
  names = {path.name for path in out.iterdir()}
  assert {"evaluation.json", "curves.png", "spectrograms.png"} <= names
  assert {"measurements.csv", "measurements.jsonl"} <= names
  assert (out / "sounds/00_voices/original.wav").is_file()
  assert (out / "sounds/00_voices/low_pass@7000.wav").is_file()
  assert "better at the higher bitrate" in stdout
  assert len(values["perplexity"]) == 3
  # With a folder everything is measured that is installed.
  assert set(metrics.available()) == set(values["metrics"])
  assert set(metrics.missing()) == set(values["missing_metrics"])
  # An untrained model has learnt nothing, and the report says so.
  assert values["early_log_mel"] is not None
  key = "at most half of its value early in training"
  assert values["criteria"][key] is False


def test_a_best_step_that_nothing_tells_is_refused(evaluated):
  done = _run(f"--workdir={evaluated[0].parent}", "--step=best")
  assert done.returncode == errors.EXIT_BAD_INPUT
  assert done.stderr.startswith("error: step 'best': ")
  assert "Present: 2" in done.stderr


@pytest.mark.slow
def test_an_exported_model_gets_the_numbers_of_its_run(evaluated, tmp_path):
  out, values, _ = evaluated
  assert (
    cli.main(["export", str(tmp_path / "model"), f"--model={out.parent}"]) == 0
  )
  done = _run(
    f"--model={tmp_path / 'model'}",
    f"--out={tmp_path / 'out'}",
    "--baselines=low_pass",
  )
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / "out/evaluation.json").read_text())
  assert found["model"].pop("name") == "model"
  assert values["model"].pop("name") == "run"
  # Only a run knows how it began.
  assert found["early_log_mel"] is None
  for key in values.keys() - {"early_log_mel", "criteria"}:
    assert found[key] == values[key], key


@pytest.mark.slow
def test_one_that_is_killed_goes_on_and_ctrl_c_is_one_line(evaluated, tmp_path):
  out, _, _ = evaluated
  words = [
    *(f"--workdir={out.parent}", f"--out={tmp_path}", "--workers=2"),
    *("--baselines=low_pass", "--clips=2", "--sounds=0"),
  ]
  log, seen = tmp_path / "measurements.jsonl", set()
  for number, code in (
    (signal.SIGKILL, -signal.SIGKILL),
    (signal.SIGINT, errors.EXIT_INTERRUPTED),
  ):
    process = subprocess.Popen(
      [sys.executable, "-m", "soundstream_jax.evaluate", *words],
      stderr=subprocess.PIPE,
      text=True,
      # Ctrl-C comes to every process of a terminal.
      start_new_session=True,
    )
    while len(_measured(log)) <= len(seen):
      assert process.poll() is None, process.stderr.read()
      time.sleep(0.02)
    if number == signal.SIGKILL:
      process.kill()
    else:
      os.killpg(process.pid, number)
    said = process.communicate()[1]
    assert process.returncode == code
    assert said == ("" if number == signal.SIGKILL else "interrupted\n")
    seen = set(_measured(log))
  done = _run(*words)
  assert done.returncode == 0, done.stderr
  measured = _measured(log)
  assert len(measured) == len(set(measured)) == 12
  evaluation = (tmp_path / "evaluation.json").read_bytes()
  whole = _run(*[w.replace(str(tmp_path), f"{tmp_path}/2") for w in words])
  assert whole.returncode == 0, whole.stderr
  assert (tmp_path / "2/evaluation.json").read_bytes() == evaluation


def _measured(log):
  lines = log.read_text().split("\n")[:-1] if log.exists() else []
  return [(line["key"], line["clip"]) for line in map(json.loads, lines)]


class _Codec:
  """As much of a codec as a summary reads."""

  step, weights, sample_rate, fingerprint = 1, "ema", 24_000, bytes(32)


def _evaluation(low, high, noise, swapped):
  clips = tuple(
    clip_set.Clip(name, "x", "x", 24_000, name, None) for name in "ab"
  )

  class Model:
    codec, counts = _Codec, np.ones((1, 4), np.int64)

  def system(rate):
    return system_lib.System("model", str(rate), "", float(rate), "")

  numbers = {
    "model@3000": low,
    "model@6000": high,
    evaluator.NOISE: noise,
    evaluator.SWAPPED: swapped,
  }
  return evaluator.Evaluation(
    model=Model,
    clips=clip_set.ClipSet("validation", 24_000, clips),
    metrics={"log_mel": metrics.METRICS["log_mel"]},
    systems=[system(3000), system(6000)],
    depths=[1, 2],
    lines={
      (key, clip.name): store.Line(
        key, clip.name, "x", 1.0, "", 0, 0, {"log_mel": value}
      )
      for key, value in numbers.items()
      for clip in clips
    },
  )


def test_a_live_model_passes_all_criteria_and_a_dead_one_none():
  alive = summary.criteria(_evaluation(1.0, 0.9, 1.2, 1.5), early=2.0)
  assert all(alive["criteria"].values())
  dead = summary.criteria(_evaluation(1.0, 1.0, 0.9, 1.1), early=1.5)
  assert not any(dead["criteria"].values())
  assert None not in dead["criteria"].values()
  unknown = summary.criteria(_evaluation(None, None, None, None), early=None)
  assert set(unknown["criteria"].values()) == {None}


def test_the_log_of_a_run_that_is_running_is_read_to_its_last_whole_line(
  tmp_path,
):
  log = tmp_path / "metrics.jsonl"
  log.write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a": NaN}\n{"step": 3, "')
  first, second = logs.read(log)
  assert first == {"step": 1, "a": 2.0}
  assert second["step"] == 2


@pytest.mark.parametrize("name", ["evaluation.json", "wav", "png"])
def test_results_on_a_full_disk_are_one_line(tmp_path, monkeypatch, name):
  def full(path):
    if name in path.name:
      raise OSError(28, "No space left on device")

  monkeypatch.setattr(whole_files, "sync", full)
  figure = pictures._pyplot().figure()
  with pytest.raises(errors.DiskError, match=f"{name} could not be written"):
    whole_files.write(tmp_path / "evaluation.json", "{}")
    wav.write(tmp_path / "a.wav", np.zeros(10), 24_000)
    pictures._save(figure, tmp_path / "a.png", dpi=10)
  pictures._pyplot().close(figure)
  assert not [p for p in tmp_path.iterdir() if name in p.name]
