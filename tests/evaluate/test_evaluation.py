"""An evaluation on disk: what is written, and that it goes on."""

import csv
import dataclasses
import io
import json
import pathlib

import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors, folder_lock, metrics
from soundstream_jax.audio import wav
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec.sstr import reader as reader_lib
from soundstream_jax.codec.sstr import scan, writer
from soundstream_jax.codec.sstr.entropy import frequencies, table_files
from soundstream_jax.evaluate import (
  command,
  evaluator,
  pictures,
  summary,
  table,
)
from soundstream_jax.evaluate.measuring import (
  clip_set,
  pool,
  store,
)
from soundstream_jax.evaluate.measuring import model as model_lib

MODEL = pathlib.Path(__file__).parents[1] / "frozen/v0_1/model"
QUICK = ("log_mel", "si_sdr_db")


@pytest.fixture(scope="module")
def codec():
  return codec_lib.Codec.load(MODEL)


@pytest.fixture(scope="module")
def config(codec, voices):
  """The model's, with the data of this machine and three clips of 1 s."""
  config = codec.config
  return dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, sources=voices),
    evaluation=dataclasses.replace(
      config.evaluation, clip_samples=24_000, num_clips=3
    ),
  )


@pytest.fixture
def evaluate(codec, config, monkeypatch):
  """Evaluates in this process; returns (evaluation.json, its bytes)."""

  def run(out, *, draw=False, **asked):
    monkeypatch.setattr(pictures, "possible", lambda: draw)
    flags = command.Flags(
      **{
        "folder": str(MODEL),
        "out": str(out),
        "metrics": QUICK,
        "baselines": [],
        "sounds": 1,
        "workers": 0,
        **asked,
      }
    )
    command.evaluate(flags, codec, config)
    data = (pathlib.Path(out) / "evaluation.json").read_bytes()
    return json.loads(data), data

  return run


def _lines(out):
  return (out / store.FILE).read_text().splitlines()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
  return tmp_path_factory.mktemp("evaluated")


@pytest.fixture
def whole(shared, evaluate):
  """(folder, values, bytes) of an evaluation that nothing interrupted."""
  out = shared / "out"
  if not out.exists():
    evaluate(out, draw=True, baselines=["low_pass"])
  data = (out / "evaluation.json").read_bytes()
  return out, json.loads(data), data


def test_what_is_written_is_what_reports_read(whole, codec):
  out, values, _ = whole
  assert values["version"] == 1
  assert values["model"]["fingerprint"] == codec.fingerprint.hex()
  assert values["clip_set"]["seconds"] == [1.0] * 3
  assert [system["key"] for system in values["systems"]] == [
    *("model@600", "model@1800", "low_pass@3500", "low_pass@7000")
  ]
  assert [system["layers"] for system in values["systems"]] == [
    1,
    3,
    None,
    None,
  ]
  for system in values["systems"]:
    for name in QUICK:
      for found in system["metrics"][name].values():
        assert found["low"] <= found["mean"] <= found["high"]
        assert (found["count"], found["missing"]) == (3, 0)
  pairs = {(entry["a"], entry["b"]) for entry in values["paired"]}
  assert pairs == {
    *(
      (f"model@{r}", f"low_pass@{f}") for r in (600, 1800) for f in (3500, 7000)
    ),
    ("model@1800", "model@600"),
  }
  assert len(values["codebooks"]) == 3
  for book in values["codebooks"]:
    assert book["entropy_bits"] == pytest.approx(np.log2(book["perplexity"]))
  sounds = out / "sounds" / values["clip_set"]["names"][0]
  assert {path.name for path in sounds.iterdir()} == {
    *("original.wav", "model@600.wav", "model@1800.wav"),
    *("low_pass@3500.wav", "low_pass@7000.wav"),
  }
  assert [path.name for path in (out / "sounds").iterdir()] == [sounds.name]


def test_means_and_differences_are_those_of_the_lines(whole):
  out, values, _ = whole
  lines = [json.loads(text) for text in _lines(out)]
  rows = list(
    csv.DictReader(io.StringIO((out / "measurements.csv").read_text()))
  )
  assert set(rows[0]) == set(summary.COLUMNS)
  assert len(rows) == 4 * 3 * len(QUICK)

  def each(key, name):
    found = {
      line["clip"]: line["values"][name] for line in lines if line["key"] == key
    }
    assert found == {
      row["clip"]: float(row["value"])
      for row in rows
      if (row["key"], row["metric"]) == (key, name)
    }
    return np.array([found[name] for name in values["clip_set"]["names"]])

  for system in values["systems"]:
    for name in QUICK:
      mean = system["metrics"][name]["all"]["mean"]
      assert mean == pytest.approx(each(system["key"], name).mean())
  for entry in values["paired"]:
    a, b = (each(entry[side], entry["metric"]) for side in "ab")
    assert entry["mean"] == pytest.approx((a - b).mean())


def test_the_same_command_again_measures_nothing(whole, evaluate, monkeypatch):
  out, _, data = whole
  before = _lines(out)
  monkeypatch.setattr(
    model_lib.Model, "decode", lambda *_, **__: pytest.fail("it decodes")
  )
  assert evaluate(out, baselines=["low_pass"])[1] == data
  assert _lines(out) == before


@pytest.mark.parametrize("after", [0, 1, 7])
def test_one_that_was_stopped_goes_on_to_the_same_bytes(
  tmp_path, whole, evaluate, monkeypatch, after
):
  perform = pool.perform

  def stopped(*words, **named):
    for count, result in enumerate(perform(*words, **named)):
      if count == after:
        raise KeyboardInterrupt
      yield result

  monkeypatch.setattr(pool, "perform", stopped)
  with pytest.raises(KeyboardInterrupt):
    evaluate(tmp_path, baselines=["low_pass"])
  assert not (tmp_path / "evaluation.json").exists()
  monkeypatch.setattr(pool, "perform", perform)
  assert evaluate(tmp_path, baselines=["low_pass"])[1] == whole[2]
  keys = [
    (entry["key"], entry["clip"]) for entry in map(json.loads, _lines(tmp_path))
  ]
  assert len(keys) == len(set(keys)) == 18
  assert (tmp_path / "measurements.csv").read_bytes() == (
    whole[0] / "measurements.csv"
  ).read_bytes()


def test_only_what_is_new_is_measured(tmp_path, evaluate, monkeypatch):
  asked = []
  perform = pool.perform

  def seen(todo, **named):
    def listed():
      for task in todo:
        asked.append((task.key, task.metrics))
        yield task

    return perform(listed(), **named)

  monkeypatch.setattr(pool, "perform", seen)

  def newly(**words):
    asked.clear()
    evaluate(tmp_path, **words)
    return set(asked)

  newly(metrics=["log_mel"], bitrates_bps=[600])
  # A metric more, a bitrate more, a baseline more.
  assert newly(bitrates_bps=[600]) == {("model@600", ("si_sdr_db",))}
  assert newly() == {("model@1800", QUICK), (evaluator.SWAPPED, QUICK[:1])}
  assert newly(baselines=["low_pass@3500"]) == {("low_pass@3500", QUICK)}
  assert newly(metrics=["log_mel"]) == set()
  # Another version of a metric, and of a system.
  monkeypatch.setitem(
    metrics.METRICS,
    "log_mel",
    dataclasses.replace(metrics.METRICS["log_mel"], digest="2"),
  )
  assert newly(bitrates_bps=[1800]) == {
    *(("model@1800", QUICK[:1]), (evaluator.SWAPPED, QUICK[:1])),
    (evaluator.NOISE, QUICK[:1]),
  }
  # Another clip alone.
  added = newly(bitrates_bps=[1800], clips=4)
  assert {key for key, _ in added} >= {"model@1800"}
  assert len(asked) < 12


def test_the_bits_are_those_of_the_files_that_encode_writes(whole, codec):
  out, values, _ = whole
  lines = [json.loads(text) for text in _lines(out)]
  rates = {"model@600": 600, "model@1800": 1800}
  for line in lines:
    if line["key"] not in rates:
      continue
    audio = wav_of(out, values, line["clip"])
    if audio is None:
      continue
    codes = codec.encode(audio, bitrate_bps=rates[line["key"]])
    data = codec.to_bytes(codes)
    file = io.BytesIO(data)
    header, _ = reader_lib.read_header(file)
    planes = 0
    for chunk in scan.events(file, header):
      planes += sum(len(entry) - 4 for entry in chunk.entries)
    assert line["payload_bits"] == 8 * planes
    # A second of whole bytes.
    assert line["payload_bits"] == pytest.approx(rates[line["key"]], rel=0.02)
    assert writer.FILE_FRAMES == 256
    assert line["entropy_bits"] <= line["payload_bits"]
  for system in values["systems"][:2]:
    chosen = [line for line in lines if line["key"] == system["key"]]
    assert system["payload_bps"] == pytest.approx(
      np.mean([line["payload_bits"] / line["seconds"] for line in chosen])
    )


def wav_of(out, values, clip):
  """Returns a clip's sound as it was kept, None where it was not."""
  from soundstream_jax.audio import reading

  path = out / "sounds" / clip / "original.wav"
  return reading.read(path)[0][:, 0] if path.exists() else None


def test_a_models_own_tables_are_used_where_it_has_them(
  tmp_path, codec, config
):
  clips = clip_set.of_split(config, split="validation")
  others = model_lib.of(codec, tmp_path, clips, out=None)
  assert others.tables is None
  made = frequencies.from_counts(others.counts, fingerprint=codec.fingerprint)
  table_files.write(tmp_path, made)
  own = model_lib.of(codec, tmp_path, clips, out=None)
  assert own.tables.identity == made.identity
  assert made.identity.hex() in own.entropy_tables
  # They were made of these clips too, the others' were not.
  ours = sum(bits[-1] for bits in own.entropy_bits)
  assert ours < sum(bits[-1] for bits in others.entropy_bits)


def test_the_clips_of_a_split_as_files_get_the_splits_numbers(
  tmp_path, whole, evaluate, config
):
  _, values, _ = whole
  (tmp_path / "sound").mkdir()
  for clip in clip_set.of_split(config, split="validation").clips:
    wav.write(tmp_path / f"sound/{clip.name}.wav", clip.load(), 24_000)
  found, _ = evaluate(
    tmp_path / "out",
    audio=str(tmp_path / "sound"),
    baselines=["low_pass"],
  )
  assert found["clip_set"]["origin"] == "sound"
  assert set(found["clip_set"]["classes"]) == {"all"}
  for one, other in zip(values["systems"], found["systems"], strict=True):
    assert one["payload_bps"] == other["payload_bps"]
    assert one["entropy_bps"] == other["entropy_bps"]
    for name in QUICK:
      assert one["metrics"][name]["all"] == other["metrics"][name]["all"]
  assert found["swapped_log_mel"] == pytest.approx(values["swapped_log_mel"])
  # What needs training data is not known.
  assert found["noise_log_mel"] is None and values["noise_log_mel"] > 0
  criteria = dict(found["criteria"])
  assert (
    criteria.pop("below stationary noise with the training spectrum") is None
  )
  assert criteria["better at the higher bitrate"] is not None


def test_files_that_are_left_out_are_named_and_the_others_measured(
  tmp_path, evaluate, capsys
):
  sounds = tmp_path / "sounds"
  sounds.mkdir()
  rng = np.random.default_rng(0)
  for name in ("a", "b"):
    wav.write(sounds / f"{name}.wav", 0.1 * rng.normal(size=24_000), 24_000)
  wav.write(sounds / "silent.wav", np.zeros(24_000), 24_000)
  (sounds / "broken.wav").write_text("no sound")
  with pytest.raises(errors.InputError, match="2 of its files are left out"):
    evaluate(tmp_path / "out", audio=str(sounds))
  said = capsys.readouterr().err
  assert "silent.wav: it is silent" in said and "broken.wav" in said
  values = json.loads((tmp_path / "out/evaluation.json").read_text())
  assert values["clip_set"]["names"] == ["a.wav", "b.wav"]
  assert len(values["clip_set"]["left_out"]) == 2


def test_a_users_own_metric_is_one_more_and_its_failures_are_named(
  tmp_path, evaluate, capsys
):
  own = tmp_path / "own.py"
  own.write_text(
    "def loudness(reference, output, sample_rate_hz):\n"
    "  '''Loudness; higher is better.'''\n"
    "  return float(abs(output).mean())\n"
    "def nothing(reference, output, sample_rate_hz):\n"
    "  '''Nothing; lower is better.'''\n"
    "  raise ValueError('no ears')\n"
  )
  values, _ = evaluate(tmp_path / "out", own_metrics=str(own))
  best = values["systems"][-1]["metrics"]
  assert best["loudness"]["all"]["mean"] > 0
  assert best["nothing"]["all"] == {
    **dict.fromkeys(("mean", "low", "high")),
    **{"count": 0, "missing": 3},
  }
  said = capsys.readouterr()
  assert "missing: 6 values of Nothing (model@600 of" in said.err
  assert "ValueError: no ears" in said.err
  assert "loudness" in said.out


def test_no_bitrate_measures_the_baselines_alone(tmp_path, evaluate):
  values, _ = evaluate(
    tmp_path, bitrates_bps=[], baselines=["low_pass"], sounds=0
  )
  assert [system["system"] for system in values["systems"]] == ["low_pass"] * 2
  assert values["rates"] == [] and set(values["criteria"].values()) == {None}
  assert not (tmp_path / "sounds").exists()


def test_the_sound_of_another_model_does_not_stay(tmp_path, evaluate, codec):
  values, _ = evaluate(tmp_path)
  (kept,) = (tmp_path / "sounds").iterdir()
  sound = kept / "model@1800.wav"
  before = sound.read_bytes()
  # As if another model had been there.
  sound.write_bytes(b"other")
  (tmp_path / store.FILE).unlink()
  evaluate(tmp_path)
  assert sound.read_bytes() == before
  (tmp_path / store.FILE).unlink()
  evaluate(tmp_path, sounds=0)
  assert not sound.exists()
  evaluate(tmp_path)
  assert sound.read_bytes() == before
  assert values["clip_set"]["names"][0] == kept.name


def test_two_evaluations_into_one_folder_are_one_too_many(tmp_path, evaluate):
  with (
    folder_lock.held(tmp_path / ".lock", what="other"),
    pytest.raises(errors.InputError, match="another evaluation is at work"),
  ):
    evaluate(tmp_path)


def test_without_a_folder_a_look_is_quick_and_leaves_nothing(
  codec, config, monkeypatch, capsys, tmp_path
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(
    pool, "_Pool", lambda *_: pytest.fail("processes are started")
  )
  command.evaluate(command.Flags(folder=str(MODEL)), codec, config)
  said = capsys.readouterr()
  assert "  bitrate  layers  log-mel  SI-SDR dB\n" in said.out
  assert "better at the higher bitrate" in said.out
  assert said.err == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("asked", "match"),
  [
    ({"metrics": ["visqol"]}, "'visqol' is no metric. Did you mean"),
    ({"baselines": ["opsu"]}, "there is no system 'opsu'"),
    ({"bitrates_bps": [700]}, "not a rate of this model"),
    ({"split": "holdout"}, "holdout"),
    ({"clip_seconds": 1e-4}, "shorter than the model's"),
  ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path, evaluate, asked, match):
  with pytest.raises(errors.InputError, match=match):
    evaluate(tmp_path, **asked)


def test_the_table_says_no_where_a_criterion_fails(whole):
  _, values, _ = whole
  assert "          NO  better at the higher bitrate" in table.to_text(
    {**values, "criteria": {"better at the higher bitrate": False}}
  )


def test_the_configuration_of_a_model_is_in_its_results(whole, codec):
  saved = whole[1]["model"]["config"]
  assert config_lib.from_dict(saved) == codec.config
