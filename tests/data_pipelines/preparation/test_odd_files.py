"""Cut files, endless samples, formats of ffmpeg: used, or skipped and named."""

import json
import subprocess

import numpy as np
import pytest
import soundfile

from soundstream_jax.data import source
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.audio import measure
from soundstream_jax.data_pipelines.preparation import (
  datasheet,
  records,
  shards,
)

RATE_HZ = 24_000


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
  """Drawing takes longer than what is tested here."""
  monkeypatch.setattr(datasheet, "draw", lambda sheet, path: None)


def _write(path, seconds=2.0, rate_hz=RATE_HZ):
  path.parent.mkdir(parents=True, exist_ok=True)
  t = np.arange(round(seconds * rate_hz)) / rate_hz
  soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * t), rate_hz)
  return path


def _write_loud(path, rate_hz, channels=1):
  """Finite samples as large as float32 has them, of alternating signs."""
  audio = np.full((2 * rate_hz, channels), 3.4e38, np.float32)
  audio[::2] *= -1
  soundfile.write(path, audio, rate_hz, subtype="FLOAT")


def _prepare(tree, out, *flags):
  return prepare.main(
    [
      *("", "--dataset=audio_folder", f"--input={tree}", f"--out={out}"),
      *("--split=100,0,0", "--workers=1", *flags),
    ]
  )


def _records(out):
  opened = source.open_source(str(out), "train", RATE_HZ)
  return [opened[k] for k in range(len(opened))]


def _sheet(out):
  return json.loads((out / "datasheet.json").read_text())


def test_a_cut_file_is_used_as_far_as_it_goes_listed_and_counted(
  tmp_path, capsys
):
  tree, out = tmp_path / "in", tmp_path / "out"
  _write(tree / "a" / "good.wav")
  data = _write(tree / "b" / "cut.wav", 4.0).read_bytes()
  (tree / "b" / "cut.wav").write_bytes(data[: 44 + 2 * 36_000])
  assert _prepare(tree, out) == 0
  told = capsys.readouterr().err
  assert "damaged: 1 of 2 files, used as far as they go:\n" in told
  reason = "the header says 4.000 s, the file holds 1.500 s"
  assert f"  b/cut.wav: {reason}\n" in told
  assert "skipped" not in told
  lengths = {r["source"]: len(r["audio"]) for r in _records(out)}
  assert lengths == {"a/good.wav": 48_000, "b/cut.wav": 36_000}
  sheet = _sheet(out)
  assert sheet["damaged"] == [{"name": "b/cut.wav", "reason": reason}]
  assert sheet["skipped"] == []
  assert sheet["files"] == 2


@pytest.mark.parametrize("kind", ["audio", "rooms"])
def test_samples_that_only_resampling_makes_infinite_are_skipped_and_named(
  tmp_path, capsys, kind
):
  tree, out = tmp_path / "in", tmp_path / "out"
  _write(tree / "good.wav")
  _write_loud(tree / "loud.wav", 48_000)
  assert _prepare(tree, out, f"--kind={kind}") == 0
  (line,) = [
    line
    for line in capsys.readouterr().err.splitlines()
    if line.startswith("  loud.wav: ")
  ]
  assert " s is NaN or infinite. Export the file again" in line
  assert [file["name"] for file in _sheet(out)["skipped"]] == ["loud.wav"]
  assert [record["source"] for record in _records(out)] == ["good.wav"]


def test_samples_that_only_mixing_makes_infinite_are_skipped_and_named(
  tmp_path,
):
  tree, out = tmp_path / "in", tmp_path / "out"
  _write(tree / "good.wav")
  _write_loud(tree / "loud.wav", RATE_HZ, channels=2)
  assert _prepare(tree, out) == 0
  assert [file["name"] for file in _sheet(out)["skipped"]] == ["loud.wav"]


def test_samples_far_beyond_full_scale_are_clipped(tmp_path):
  tree, out = tmp_path / "in", tmp_path / "out"
  tree.mkdir()
  _write_loud(tree / "loud.wav", RATE_HZ)
  assert _prepare(tree, out) == 0
  (record,) = _records(out)
  assert set(record["audio"]) == {-32_768, 32_767}


def test_a_room_as_quiet_as_float32_goes_is_scaled_like_any_other(tmp_path):
  tree, out = tmp_path / "in", tmp_path / "out"
  tree.mkdir()
  audio = np.zeros(RATE_HZ, np.float32)
  audio[100] = 1e-42
  soundfile.write(tree / "quiet.wav", audio, RATE_HZ, subtype="FLOAT")
  assert _prepare(tree, out, "--kind=rooms") == 0
  (record,) = _records(out)
  assert np.abs(record["audio"]).max() == round(0.9 * 32_768)


def test_a_length_that_was_never_written_is_skipped_with_the_reason(tmp_path):
  tree, out = tmp_path / "in", tmp_path / "out"
  _write(tree / "good.wav")
  data = bytearray(_write(tree / "killed.wav").read_bytes())
  data[40:44] = bytes(4)
  (tree / "killed.wav").write_bytes(data)
  assert _prepare(tree, out) == 0
  (skipped,) = _sheet(out)["skipped"]
  assert skipped["name"] == "killed.wav"
  assert skipped["reason"].startswith("the header says 0 bytes of sound, and")


@pytest.mark.usefixtures("without_ffmpeg")
def test_what_is_left_out_is_one_line(tmp_path, capsys):
  tree = tmp_path / "in"
  _write(tree / "a.aiff")
  for name in ("b.m4a", "c.m4a", "notes.txt"):
    (tree / name).write_bytes(b"x")
  (tree / "gone.wav").symlink_to(tmp_path / "nothing")
  assert _prepare(tree, tmp_path / "out") == 0
  told = capsys.readouterr().err
  assert told.count("left out: ") == 1
  assert "left out: 2 .m4a, 1 broken link; install ffmpeg" in told
  assert [r["source"] for r in _records(tmp_path / "out")] == ["a.aiff"]


def test_what_ffmpeg_reads_is_prepared(with_ffmpeg, tmp_path):
  tree = tmp_path / "in"
  tone = _write(tree / "a.wav")
  for name in ("b.m4a", "c.mkv"):
    subprocess.run(
      [
        *(with_ffmpeg, "-nostdin", "-loglevel", "error", "-i", tone),
        *("-c:a", "alac" if name == "b.m4a" else "flac", tree / name),
      ],
      check=True,
    )
  assert _prepare(tree, tmp_path / "out", "--group_by=file") == 0
  found = {r["source"]: r["audio"] for r in _records(tmp_path / "out")}
  assert set(found) == {"a.wav", "b.m4a", "c.mkv"}
  for audio in found.values():
    np.testing.assert_array_equal(audio, found["a.wav"])
  assert _sheet(tmp_path / "out")["damaged"] == []


def test_a_sidecar_from_before_damage_was_told_can_be_loaded(tmp_path):
  sidecar = shards.shard_path(tmp_path, 0).with_suffix(".json")
  sidecar.parent.mkdir()
  result = shards.Result("train", records.Tally(), measure.Sound(), [])
  shards._save(tmp_path, 0, result)
  value = json.loads(sidecar.read_text())
  assert value.pop("damaged") == []
  sidecar.write_text(json.dumps(value))
  assert shards._load(tmp_path, 0) == result
