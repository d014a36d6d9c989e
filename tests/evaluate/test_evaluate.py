"""The evaluation's controls, report and command."""

import json

import numpy as np
import pytest

from soundstream_jax import errors, whole_files
from soundstream_jax.audio import wav
from soundstream_jax.evaluate import evaluator, logs, pictures, table
from soundstream_jax.metrics import log_mel
from soundstream_jax.train import loop


def test_swapped_codes_come_from_another_clip_of_the_class():
  classes = [0, 1, 0, 2, 1, 0]
  partners = evaluator._partners(classes)
  assert all(partner != index for index, partner in enumerate(partners))
  for index in (0, 1, 2, 4, 5):
    assert classes[partners[index]] == classes[index]
  assert evaluator._partners([0]) == [0]


def test_stationary_noise_has_the_mean_spectrum_of_the_training_clips():
  rng = np.random.default_rng(0)
  white = rng.normal(size=(6, 48_000))
  coloured = np.stack([np.convolve(w, [1, 0.9], "same") for w in white])
  coloured = 0.05 * coloured[:, :, None].astype(np.float32)
  noise = evaluator._stationary_noise(coloured, (6, 48_000, 1))
  assert noise.shape == (6, 48_000, 1)
  # The same process from another seed is as close as noise can be.
  other = np.roll(coloured, 1, axis=0)
  chance = log_mel.distance(coloured, other, sample_rate_hz=24_000).mean()
  reached = log_mel.distance(coloured, noise, sample_rate_hz=24_000).mean()
  assert reached < 1.05 * chance


@pytest.fixture(scope="module")
def evaluated(small_config, voices, tmp_path_factory):
  """(folder, values) of `python -m soundstream_jax.evaluate` on a small run."""
  import subprocess
  import sys

  workdir = tmp_path_factory.mktemp("evaluated") / "run"
  config = small_config(
    **{"data.sources": voices, "num_steps": 2, "evaluation.at_steps": (1,)}
  )
  assert loop.train(config, workdir) == 0
  out = workdir / "evaluation"
  result = subprocess.run(
    [
      sys.executable,
      "-m",
      "soundstream_jax.evaluate",
      f"--workdir={workdir}",
      f"--out={out}",
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return out, json.loads((out / "evaluation.json").read_text()), result.stdout


def test_the_command_writes_numbers_sound_and_pictures(evaluated):
  out, values, stdout = evaluated
  names = {path.name for path in out.iterdir()}
  assert {"evaluation.json", "curves.png", "spectrograms.png"} <= names
  assert {"00_voices_original.wav", "00_voices_decoded.wav"} <= names
  assert "better at the higher bitrate" in stdout
  assert len(values["perplexity"]) == 3
  # An untrained model has learnt nothing, and the report says so.
  assert values["early_log_mel"] is not None
  key = "at most half of its value early in training"
  assert values["criteria"][key] is False


def test_a_best_step_that_nothing_tells_is_refused(evaluated):
  import subprocess
  import sys

  done = subprocess.run(
    [
      *(sys.executable, "-m", "soundstream_jax.evaluate"),
      *(f"--workdir={evaluated[0].parent}", "--step=best"),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == errors.EXIT_BAD_INPUT
  assert done.stderr.startswith("error: step 'best': ")
  assert "Present: 2" in done.stderr


def test_a_live_model_passes_all_criteria_and_a_dead_one_none():
  class Clips:
    group, source_names, source_index = ["a", "b"], ["x"], [0, 0]

  def result(low, high, noise, swapped):
    def rate(bps, value):
      values = np.full(2, value)
      return evaluator.AtBitrate(
        bps, 1, {"log_mel": values, "si_sdr_db": values}
      )

    return evaluator.Evaluation(
      step=1,
      weights="ema",
      clips=Clips,
      rates=[rate(3000, low), rate(6000, high)],
      noise=np.full(2, noise),
      swapped=np.full(2, swapped),
      perplexity=np.ones(1),
      dead_fraction=np.zeros(1),
      outputs=np.zeros((2, 1, 1)),
    )

  alive = table.to_dict(result(1.0, 0.9, 1.2, 1.5), early=2.0)
  assert all(alive["criteria"].values())
  dead = table.to_dict(result(1.0, 1.0, 0.9, 1.1), early=1.5)
  assert not any(dead["criteria"].values())
  assert "NO" in table.to_text(dead)


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
