"""A value that means nothing is missing, with its reason; no metric is a must."""

import dataclasses
import importlib.util
import pickle
import sys

import numpy as np
import pytest

from soundstream_jax import errors, metrics

RATE_HZ = 24_000
PACKAGES = [name for name, m in metrics.METRICS.items() if m.package]


def clip(seconds=1.0, gain=0.1, seed=0):
  rng = np.random.default_rng(seed)
  return (gain * rng.normal(size=round(seconds * RATE_HZ))).astype(np.float32)


def of(name, reference, output, **options):
  return metrics.measure_clip(
    name, reference, output, sample_rate_hz=RATE_HZ, **options
  )


@pytest.fixture
def without(monkeypatch):
  """Returns a function that takes a module away from importlib."""

  def remove(gone):
    there = importlib.util.find_spec
    monkeypatch.setattr(
      importlib.util,
      "find_spec",
      lambda name, *rest: None if name == gone else there(name, *rest),
    )

  return remove


@pytest.mark.parametrize("name", metrics.METRICS)
@pytest.mark.parametrize("level", [0.0, 0.3, 1e-5])
def test_a_silent_reference_is_refused_by_every_metric(name, level):
  silence = np.full(RATE_HZ, level, np.float32)
  assert of(name, silence, clip()) == (None, "the reference is silent")
  quiet = silence + clip(gain=9e-4)
  assert of(name, quiet, clip()) == (None, "the reference is silent")


@pytest.mark.parametrize("name", metrics.METRICS)
def test_what_is_not_finite_is_refused_by_every_metric(name):
  broken = clip()
  broken[7] = np.nan
  assert of(name, clip(), broken) == (None, "the output is not finite")
  broken[7] = np.inf
  assert of(name, broken, clip()) == (None, "the reference is not finite")
  assert of(name, broken[:0], broken[:0]) == (None, "the clip is empty")


@pytest.mark.parametrize(
  ("name", "least_s", "why"),
  [
    ("visqol_audio", 0.96, "the clip has 0.91 s; ViSQOL's audio mode needs"),
    ("visqol_speech", 0.64, "the clip has 0.61 s; ViSQOL's speech mode needs"),
    ("pesq", 0.25, "the clip has 0.24 s; PESQ takes 0.25 to 20"),
    ("stoi", 0.43, "less than 0.4 s of the reference is loud"),
    ("multi_scale_mel", 2048 / RATE_HZ, "the clip has 1946 samples; the multi"),
  ],
)
def test_a_clip_that_is_too_short_has_no_value(name, least_s, why):
  short = clip(0.95 * least_s)
  found, reason = of(name, short, short)
  assert found is None and reason.startswith(why)
  found, reason = of(name, *[clip(1.02 * least_s)] * 2)
  assert found is not None, reason


@pytest.mark.parametrize(("name", "most_s"), [("pesq", 20), ("zimtohrli", 60)])
def test_a_clip_that_is_too_long_has_no_value(name, most_s):
  """PESQ would crash over 51 utterances, zimtohrli take all memory."""
  beeps = clip(most_s + 0.5)
  beeps *= np.arange(len(beeps)) % round(0.42 * RATE_HZ) < 0.21 * RATE_HZ
  found, why = of(name, beeps, 0.9 * beeps)
  assert found is None and f"{most_s}" in why
  if name == "pesq":
    found, _ = of(name, *[beeps[: most_s * RATE_HZ]] * 2)
    assert found > 4


@pytest.mark.parametrize("name", ["visqol_audio", "visqol_speech", "pesq"])
def test_a_silent_output_has_no_loudness_to_make_equal(name):
  found, why = of(name, clip(), np.zeros(RATE_HZ, np.float32))
  assert found is None and why.startswith("the output is digital silence")


def toy(result, **fields):
  """A table of one metric that returns or raises something."""

  def measure(reference, output, *, sample_rate_hz):
    if isinstance(result, Exception):
      raise result
    return np.full(len(reference), result)

  return {"toy": metrics.Metric(measure, "Toy", "toy", **fields)}


@pytest.mark.parametrize(
  ("result", "why"),
  [
    (np.nan, "Toy is nan"),
    (-np.inf, "Toy is -inf"),
    (5.2, "Toy is 5.2, which is outside of 1 to 5"),
    (0.9, "Toy is 0.9, which is outside of 1 to 5"),
    (KeyError("patch"), "KeyError: 'patch'"),
    (RuntimeError("two\nlines"), "RuntimeError: two lines"),
    (metrics.NoValue("it sleeps"), "it sleeps"),
  ],
)
def test_what_is_no_score_is_a_missing_value_with_its_reason(result, why):
  table = toy(result, low=1.0, high=5.0)
  assert of("toy", clip(), clip(), table=table) == (None, why)
  audio = clip()[None, :, None]
  measured = metrics.measure(
    audio, audio, sample_rate_hz=RATE_HZ, names=["toy"], table=table
  )
  np.testing.assert_array_equal(measured["toy"], [np.nan])


def test_rounding_beyond_the_range_is_its_end():
  table = toy(1 + 1e-9, low=0.0, high=1.0)
  assert of("toy", clip(), clip(), table=table) == (1.0, "")


def test_ends_of_the_process_are_no_missing_values():
  with pytest.raises(KeyboardInterrupt):
    of("toy", clip(), clip(), table=toy(1.0) | _interrupted())


def _interrupted():
  def measure(*_, **__):
    raise KeyboardInterrupt

  return {"toy": metrics.Metric(measure, "Toy", "toy")}


def test_one_clip_without_a_value_leaves_the_others_theirs():
  audio = np.stack([clip(), 0 * clip(), clip(seed=1)])[:, :, None]
  output = np.float32(0.9) * audio + clip(seed=2)[None, :, None]
  measured = metrics.measure(
    audio, output, sample_rate_hz=RATE_HZ, names=["stoi", "si_sdr_db"]
  )
  for name, values in measured.items():
    assert np.isnan(values).tolist() == [False, True, False]
    for at in (0, 2):
      alone, _ = of(name, audio[at, :, 0], output[at, :, 0])
      assert alone == values[at]


def test_measuring_without_names_is_what_training_logs():
  audio = clip()[None, :, None]
  measured = metrics.measure(audio, audio / 2, sample_rate_hz=RATE_HZ)
  assert list(measured) == ["log_mel", "si_sdr_db"]
  assert list(metrics.while_training()) == list(measured)


def test_two_clips_of_other_lengths_are_a_mistake_of_the_caller():
  with pytest.raises(ValueError, match=r"one shape \[T\]"):
    of("stoi", clip(), clip()[1:])
  with pytest.raises(ValueError, match=r"one shape \[B, T, 1\]"):
    metrics.measure(
      clip()[None], clip()[None], sample_rate_hz=1, names=["stoi"]
    )


def test_a_name_that_is_no_metric_is_refused_with_the_nearest():
  with pytest.raises(errors.InputError) as caught:
    of("visqol", clip(), clip())
  assert str(caught.value).startswith(
    "'visqol' is no metric. Did you mean 'visqol_audio'? Use one of log_mel, "
  )


def test_here_everything_is_there():
  assert metrics.missing() == {}
  assert metrics.available() == metrics.METRICS


@pytest.mark.parametrize(
  ("module", "names"),
  [
    ("visqol", ["visqol_audio", "visqol_speech"]),
    ("libsvm", ["visqol_audio"]),
    ("ai_edge_litert", ["visqol_speech"]),
    ("zimtohrli", ["zimtohrli"]),
    ("pesq", ["pesq"]),
    ("pystoi", ["stoi"]),
  ],
)
def test_without_a_package_its_metrics_are_missing_by_name(
  module, names, without
):
  without(module)
  missing = metrics.missing()
  assert list(missing) == names
  assert set(metrics.available()) == set(metrics.METRICS) - set(names)
  for name in names:
    assert missing[name].endswith(
      f"({module}): pip install 'soundstream_jax[metrics]'"
    )
    assert of(name, clip(), clip()) == (None, missing[name])


def test_without_the_lattice_speech_mode_never_takes_another_map(monkeypatch):
  """The package would, with a warning, and score one or two points higher."""
  from soundstream_jax.metrics.perceptual import visqol

  visqol._api.cache_clear()
  for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
    monkeypatch.setitem(sys.modules, name, None)
  speech = dataclasses.replace(metrics.METRICS["visqol_speech"], modules=())
  found, why = of("toy", clip(), clip(), table={"toy": speech})
  visqol._api.cache_clear()
  assert found is None
  assert why.startswith("ImportError: ai-edge-litert is required")


def test_the_table_can_be_sent_to_other_processes():
  for metric in metrics.METRICS.values():
    sent = pickle.loads(pickle.dumps(metric))
    assert sent.title == metric.title
    assert sent.measure.func is metric.measure.func if metric.package else True


def test_the_table_says_everything_that_a_report_needs():
  for name, metric in metrics.METRICS.items():
    assert name.isidentifier() and metric.title and metric.column
    assert metric.low < metric.high
    assert set(metric.classes) <= set(metrics.metric.CLASSES)
    assert bool(metric.package) == bool(metric.modules)
    # What training measures runs wherever training does.
    assert not (metric.while_training and metric.package)
    assert np.isfinite(metric.low if metric.higher_is_better else 0.0)


def test_metrics_of_speech_are_for_speech_and_for_folders():
  speech = ("visqol_speech", "pesq", "stoi")
  for name, metric in metrics.METRICS.items():
    assert metric.is_for("speech") and metric.is_for("noisy")
    assert metric.is_for("music") == (name not in speech)
    assert metric.is_for("my recordings") and metric.is_for("all")
