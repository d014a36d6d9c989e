"""Datasets of known sounds: what metadata, datasheet and records say."""

import json
import sys

import numpy as np
import pytest
import soundfile

from soundstream_jax.data import source
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.audio import measure
from soundstream_jax.data_pipelines.preparation import datasheet, records

RATE_HZ = 24_000


def _write(path, audio, rate_hz=RATE_HZ, **kind):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, audio, rate_hz, **kind)


def _prepare(tree, out, *flags):
  flags = (f"--input={tree}", f"--out={out}", "--split=100,0,0", *flags)
  return prepare.main(["", "--dataset=audio_folder", *flags])


def _read(out):
  opened = source.open_source(str(out), "train", RATE_HZ)
  return [opened[k] for k in range(len(opened))]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """5 s of noise, 5 s of silence, 10 s of a clipped tone at 48 kHz, junk."""
  root = tmp_path_factory.mktemp("sheet")
  tree = root / "in"
  noise = np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ)
  _write(tree / "a" / "noise.wav", noise)
  _write(tree / "b" / "silence.wav", np.zeros(5 * RATE_HZ))
  tone = 2 * np.sin(2 * np.pi * np.arange(480_000) / 48)
  _write(tree / "c" / "tone.wav", np.clip(tone, -1, 1), 48_000)
  (tree / "c" / "junk.flac").write_text("no audio")
  assert _prepare(tree, root / "out", "--kind=noise") == 0
  return root / "out"


def test_the_datasheet_says_what_the_files_were(prepared):
  sheet = json.loads((prepared / "datasheet.json").read_text())
  assert (sheet["datasheet_version"], sheet["kind"]) == ("1.1.0", "noise")
  assert sheet["splits"]["train"] == {
    "hours": pytest.approx(20 / 3600),
    "records": 3,
    "groups": 3,
    "dropped_ends": 0,
    "dropped_seconds": 0.0,
  }
  assert sheet["file_sample_rates"] == pytest.approx(
    {"24000": 10 / 3600, "48000": 10 / 3600}
  )
  # |2 sin| is at or beyond 1 for 34 of 48 samples, and the tone is two thirds
  # of all samples.
  assert sheet["clipped_share"] == pytest.approx(2 / 3 * 34 / 48, abs=1e-3)
  assert sheet["silent_share"] == pytest.approx(0.25, abs=0.01)
  assert (sheet["files"], len(sheet["skipped"])) == (4, 1)
  assert sheet["skipped"][0]["name"] == "c/junk.flac"
  assert "cannot be read as audio" in sheet["skipped"][0]["reason"]
  for name in ("bandwidth_hz", "level_dbfs"):
    histogram = sheet[name]["train"]
    assert sum(histogram["counts"]) == 3
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_bandwidths_lie_in_the_order_of_the_records(prepared):
  found = np.load(prepared / "bandwidth_hz-train.npy", allow_pickle=False)
  assert found.dtype == np.float32
  expected = [
    measure.bandwidth_hz(r["audio"], RATE_HZ) for r in _read(prepared)
  ]
  np.testing.assert_allclose(found, expected, atol=0.06)
  assert found[1] == 0
  assert found[0] > 11_700


def test_metadata_say_where_a_dataset_is_from(prepared):
  values = json.loads((prepared / "metadata.json").read_text())
  assert values["format_version"] == records.FORMAT_VERSION == "1.1.0"
  assert values["sample_rate_hz"] == RATE_HZ
  assert values["kind"] == "noise"
  assert {"licence", "citation", "version"} <= set(values)
  assert values["splits"]["train"] == {
    "records": 3,
    "samples": 480_000,
    "groups": 3,
  }


def test_the_picture_is_drawn_and_is_the_same_every_time(prepared, tmp_path):
  sheet = json.loads((prepared / "datasheet.json").read_text())
  datasheet.draw(sheet, tmp_path / "again.png")
  again = (tmp_path / "again.png").read_bytes()
  assert again == (prepared / "datasheet.png").read_bytes()
  assert len(again) > 20_000


def test_without_matplotlib_a_line_names_the_extra(
  prepared, tmp_path, monkeypatch, capsys
):
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  sheet = json.loads((prepared / "datasheet.json").read_text())
  datasheet.draw(sheet, tmp_path / "none.png")
  (line,) = capsys.readouterr().err.splitlines()
  assert "soundstream_jax[plots]" in line
  assert not (tmp_path / "none.png").exists()


def test_impulse_responses_are_whole_of_one_channel_and_scaled(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(datasheet, "draw", lambda sheet, path: None)
  rng = np.random.default_rng(0)
  tree = tmp_path / "in"
  short = rng.normal(0, 0.01, (4_800, 2))
  _write(tree / "short.wav", short, 48_000, subtype="FLOAT")
  _write(tree / "long.wav", rng.normal(0, 0.1, 12 * RATE_HZ))
  _write(tree / "silent.wav", np.zeros(900))
  assert _prepare(tree, tmp_path / "out", "--kind=rooms") == 0
  said = capsys.readouterr().out.splitlines()[-1]
  assert said.endswith(f": --config.data.rooms={tmp_path / 'out'}")
  long, found = _read(tmp_path / "out")
  assert (long["source"], found["source"]) == ("long.wav", "short.wav")
  assert (len(long["audio"]), len(found["audio"])) == (10 * RATE_HZ, 2_400)
  for record in (long, found):
    assert np.abs(record["audio"]).max() == round(0.9 * 32_768)
  # Of the first channel, not of the second or of their mean.
  spectrum = np.fft.rfft(found["audio"])[20:220]
  likeness = [
    np.abs(np.corrcoef(spectrum, np.fft.rfft(channel)[20:220])[0, 1])
    for channel in short.T
  ]
  assert likeness[0] > 0.999
  assert likeness[1] < 0.5
  sheet = json.loads((tmp_path / "out" / "datasheet.json").read_text())
  assert [file["name"] for file in sheet["skipped"]] == ["silent.wav"]


def test_a_datasets_own_splits_count_and_missing_files_are_told(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(datasheet, "draw", lambda sheet, path: None)
  tone = np.sin(np.arange(RATE_HZ) / 9)
  for part, reader in {"train-clean-100": 19, "dev-clean": 84}.items():
    name = f"{reader}_198_000000_000000.wav"
    _write(tmp_path / "LibriTTS" / part / f"{reader}" / "198" / name, tone)
  flags = (f"--input={tmp_path}", f"--out={tmp_path / 'out'}")
  assert prepare.main(["", "--dataset=libritts", *flags]) == 0
  told = capsys.readouterr().err
  assert "warning: train-clean-100 has 1 of 33,236 files" in told
  assert "test-clean" not in told
  assert "nothing is held out there to measure on. Add parts" in told
  values = json.loads((tmp_path / "out" / "metadata.json").read_text())
  assert values["licence"] == "CC BY 4.0"
  assert values["kind"] == "speech"
  assert values["splits"]["train"]["records"] == 1
  assert values["splits"]["validation"]["records"] == 1


def test_the_picture_shows_the_rates_with_the_most_hours():
  rates = {str(1_000 * n): float(n) for n in range(1, 12)}
  shown = datasheet._most(rates)
  assert list(shown) == [*map(str, range(6_000, 12_000, 1_000)), ""]
  assert shown[""] == 1 + 2 + 3 + 4 + 5
  assert datasheet._most({"8000": 1.0}) == {"8000": 1.0}
