"""A new metric is one entry of the table: everything that measures shows it."""

import json
import types

import numpy as np
import pytest

from soundstream_jax import metrics, rates
from soundstream_jax.data import held_out
from soundstream_jax.evaluate import (
  enhancement,
  evaluator,
  pictures,
  summary,
  table,
)
from soundstream_jax.evaluate.measuring import clip_set, model
from soundstream_jax.train import validation


def _peak_difference(reference, output, *, sample_rate_hz):
  assert sample_rate_hz == 24_000
  return np.max(np.abs(reference - output), axis=(1, 2))


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
  toy = metrics.Metric(_peak_difference, "peak difference", column="peak")
  monkeypatch.setitem(metrics.METRICS, "toy", toy)


class _Halving:
  """A codec of two layers whose codes are half of the audio."""

  step, weights, sample_rate, film = 7, "ema", 24_000, "encoder"
  num_quantizers, codebook_size = 2, 4
  bitrates = (3_000, 6_000)
  rates = rates.Rates(
    sample_rate_hz=24_000, strides=(8,), num_quantizers=2, codebook_size=4
  )

  def encode(self, audio, *, bitrate_bps=None, denoise=False):
    del bitrate_bps, denoise
    return np.zeros((len(audio) // 8, 2), int), audio

  def check_denoise(self, denoise, side):
    pass


class _Writer:
  """Keeps the scalars that validation logs."""

  def __init__(self):
    self.logged = {}

  def scalars(self, step, values):
    self.logged |= values

  def audio(self, *_):
    pass

  picture = histogram = audio


def test_validation_logs_it(small_config, caplog):
  clips = np.random.default_rng(0).normal(size=(2, 8_000, 1))
  clips = clips.astype(np.float32)
  validate = validation.Validator(
    small_config(),
    clips,
    rows=1,
    place=lambda audio: audio,
    encode=lambda params, vectors, audio: (audio, np.ones((1, 5, 3), int)),
    decode=lambda params, vectors, audio, depth: audio * depth / 6,
  )
  state = types.SimpleNamespace(
    ema_params=None, codebooks=types.SimpleNamespace(vectors=None)
  )
  writer = _Writer()
  with caplog.at_level("INFO", logger="absl"):
    validate(state, writer, 5)
  at_three = np.max(np.abs(clips / 2), axis=(1, 2))
  np.testing.assert_allclose(writer.logged["eval/toy"], np.mean(at_three))
  for layers, peaks in ((1, at_three * 5 / 3), (3, at_three)):
    for share, name in ((25, "q25"), (50, "median"), (75, "q75")):
      np.testing.assert_allclose(
        writer.logged[f"eval/toy/layers_{layers:02d}/{name}"],
        np.percentile(peaks, share),
        rtol=1e-6,
      )
  medians = " / ".join(
    f"{np.median(at_three * part):.2f}" for part in (5 / 3, 4 / 3, 1)
  )
  said = f"dB, peak difference {medians} (medians at 1 / 2 / 3 layers)"
  assert said in caplog.text


@pytest.fixture
def clips(monkeypatch):
  """Two clips that evaluation finds, whatever the configuration."""
  audio = np.random.default_rng(0).normal(size=(2, 8_000, 1))
  found = types.SimpleNamespace(
    audio=(0.1 * audio).astype(np.float32),
    group=["a", "b"],
    source_index=[0, 0],
    source_names=["voices"],
  )
  noisy = types.SimpleNamespace(audio=found.audio, clean=found)
  for name in ("held_out", "train_clips", "noisy"):
    monkeypatch.setattr(
      held_out,
      name,
      lambda *_, which=name, **__: noisy if which == "noisy" else found,
    )
  return found


def test_the_evaluation_and_its_table_show_it(clips, small_config):
  class Codec(_Halving):
    fingerprint, hop_samples, variables = bytes(32), 8, {"params": {}}
    config = small_config(**{"data.sources": "voices"})
    heard = ()

    def encode(self, audio, **options):
      codes, _ = super().encode(audio, **options)
      self.heard = (*self.heard, audio)
      return codes + len(self.heard) - 1

    def decode(self, codes):
      return self.heard[codes[0, 0]] / 2

  codec = Codec()
  found = clip_set.of_split(codec.config, split="test")
  result = evaluator.evaluate(
    model.of(codec, "none", found, out=None),
    found,
    evaluator.Ask(
      metrics=metrics.while_training(), depths=evaluator.depths(codec, None)
    ),
  )
  values = summary.criteria(result, None) | summary.to_dict(
    result, name="halving", missing_metrics={}, missing_systems={}
  )
  values = json.loads(json.dumps(values))
  for at in values["rates"]:
    expected = np.mean(np.max(np.abs(clips.audio / 2), axis=(1, 2)))
    np.testing.assert_allclose(at["toy"], expected, rtol=1e-3)
    assert set(at["toy_by_source"]) == {"voices"}
  lines = table.to_text(values).splitlines()
  assert "  bitrate  layers  log-mel  SI-SDR dB  peak" in lines
  assert any(line.endswith(f"  {at['toy']:.2f}") for line in lines)


def test_the_report_on_denoising_shows_it(clips):
  class Codec(_Halving):
    def encode(self, audio, **options):
      return super().encode(audio, **options)[1]

    def decode(self, codes, *, denoise):
      return codes / 2

  result = enhancement.evaluate(
    Codec(), None, split="test", snr_db=5.0, num_clips=2
  )
  values = enhancement.to_dict(result)
  assert set(values["toy"]) == {"input", "on", "off"}
  text = enhancement.to_text(values)
  assert "SI-SDR dB to clean  peak to clean" in text


def test_the_curves_of_a_run_show_it(tmp_path, monkeypatch):
  log = tmp_path / "metrics.jsonl"
  log.write_text(
    "".join(
      json.dumps({"step": step, "eval/toy": value, "eval/log_mel": 1.0}) + "\n"
      for step, value in ((1, 0.5), (2, 0.25))
    )
  )
  plt = pictures._pyplot()
  close, figures = plt.close, []
  monkeypatch.setattr(plt, "close", figures.append)
  pictures.curves(log, tmp_path / "curves.png")
  (figure,) = figures
  drawn = {
    axis.get_title(): [list(line.get_ydata()) for line in axis.lines]
    for axis in figure.axes
  }
  close(figure)
  assert drawn["held-out peak difference"] == [[0.5, 0.25]]
  assert drawn["held-out log-mel distance"] == [[1.0, 1.0]]
  assert (tmp_path / "curves.png").is_file()
