"""Codes of many are those of each alone, and what is bad is named."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import soundfile

from soundstream_jax.audio import waveform
from soundstream_jax.cli import __main__ as command
from soundstream_jax.codec import offline
from soundstream_jax.codec.sstr import reader
from soundstream_jax.codec.tokens import plan as plan_lib
from soundstream_jax.codec.tokens import shards
from soundstream_jax.data import source

ROOT = pathlib.Path(__file__).parents[3]


def test_records_have_the_codes_of_each_alone_in_their_order(
  tokens, voices, model, sequences
):
  out, printed, _ = tokens(voices)
  expected = [
    (split, number, record)
    for split in ("train", "validation", "test")
    for number, record in enumerate(source.open_source(voices, split, 24_000))
  ]
  found = sequences(out)
  assert len(found) == len(expected) == 12
  for (entry, codes), (split, number, record) in zip(
    found, expected, strict=True
  ):
    assert (entry["split"], entry["record"]) == (split, number)
    assert (entry["source"], entry["group"]) == (
      record["source"],
      record["group"],
    )
    assert (entry["samples"], entry["rate_hz"]) == (
      len(record["audio"]),
      24_000,
    )
    alone = offline.encode(model, waveform.to_float32(record["audio"]))
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, alone)
  meta = json.loads((out / "meta.json").read_text())
  assert meta["fingerprint"] == model.fingerprint.hex()
  assert meta["frames"] * model.rates.hop_samples == 12 * 120_000
  assert f"{3 * meta['frames']} tokens of 4 bits" in printed
  assert sum(meta["shards"].values()) == meta["frames"]


def test_files_have_the_codes_of_soundstream_encode(
  tokens, noise, model_folder, sequences, tmp_path, capsys
):
  noise("a.wav", rate_hz=8_000)
  noise("deep/b.flac", rate_hz=44_100, channels=2, samples=300_000)
  noise("c.wav", samples=1)
  for options in ((), ("--mono", "--bitrate=1200")):
    out, *_ = tokens(tmp_path / "in", *options, out=tmp_path / f"{options}")
    found = iter(sequences(out))
    for name in ("a.wav", "c.wav", "deep/b.flac"):
      path = tmp_path / "in" / name
      argv = ["encode", path, tmp_path / "x.sstr", f"--model={model_folder}"]
      argv += ["--force", *options]
      assert command.main([str(word) for word in argv]) == 0
      coded = reader.read(tmp_path / "x.sstr")
      for channel, codes in enumerate(coded.codes):
        entry, mine = next(found)
        assert (entry["source"], entry["channel"]) == (name, channel)
        assert entry["samples"] == soundfile.info(path).frames
        np.testing.assert_array_equal(mine, codes)
    assert next(found, None) is None
  capsys.readouterr()


def test_any_number_of_workers_and_devices_makes_the_same_folder(
  tokens, voices, content, tmp_path, monkeypatch
):
  devices, build = set(), shards.build

  def watched(*arguments, model, **others):
    devices.add(model.device)
    array = model.variables["codebooks"]["quantizer"]["vectors"]
    assert array.devices() == {model.device}
    build(*arguments, model=model, **others)

  monkeypatch.setattr(shards, "build", watched)
  one, *_ = tokens(voices, "--workers=1", out=tmp_path / "one")
  assert devices == {jax.local_devices()[0]}
  many, *_ = tokens(voices, "--workers=4", out=tmp_path / "many")
  assert devices == set(jax.local_devices()[:4])
  assert content(one) == content(many)


def test_what_cannot_be_read_is_left_out_named_and_counted(
  tokens, noise, sequences, tmp_path, model
):
  for name in ("a.wav", "c.wav"):
    noise(name)
  (tmp_path / "in" / "b.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
  # Some of its codes are written before the end of it is known.
  broken = np.zeros(600_000, np.float32)
  broken[-1] = np.nan
  soundfile.write(tmp_path / "in" / "bb.wav", broken, 24_000, subtype="FLOAT")
  out, printed, err = tokens(tmp_path / "in", code=2)
  assert "2 sequences of 2 files" in printed
  lines = [line for line in err.splitlines() if "files, " not in line]
  assert lines[0].startswith(f"left out: {tmp_path / 'in' / 'b.wav'}: ")
  assert lines[1].startswith(f"left out: {tmp_path / 'in' / 'bb.wav'}: ")
  assert lines[2].startswith("error: 2 of 4 files are left out or damaged;")
  assert len(lines) == 3
  left_out = json.loads((out / "meta.json").read_text())["left_out"]
  assert [name for name, _ in left_out] == ["b.wav", "bb.wav"]
  for entry, codes in sequences(out):
    audio, _ = soundfile.read(
      tmp_path / "in" / entry["source"], dtype="float32"
    )
    np.testing.assert_array_equal(codes, offline.encode(model, audio))
  # Once more: nothing to do, and it is said again.
  assert tokens(tmp_path / "in", code=2)[2] == "".join(
    f"{line}\n" for line in lines
  )


def test_nothing_but_bad_files_is_a_folder_without_codes(tokens, tmp_path):
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "a.wav").write_bytes(b"")
  out, printed, _ = tokens(tmp_path / "in", code=2)
  assert sorted(p.name for p in out.iterdir()) == ["index.jsonl", "meta.json"]
  assert (out / "index.jsonl").read_bytes() == b""
  assert "0 frames in 0 sequences of 0 files" in printed


def test_a_file_that_changes_after_the_plan_is_left_out(
  tokens, noise, tmp_path, monkeypatch
):
  paths = [noise(name) for name in ("gone.wav", "grown.wav", "same.wav")]
  begin = plan_lib.begin

  def then_change(*arguments):
    begin(*arguments)
    paths[0].unlink()
    shutil.copy(noise("other.wav", samples=9_999), paths[1])

  monkeypatch.setattr(plan_lib, "begin", then_change)
  _, printed, err = tokens(tmp_path / "in", code=2)
  assert "1 sequence of 1 file," in printed
  assert "gone.wav: it is gone since" in err
  assert "grown.wav: it has changed since" in err


def test_names_may_be_any_bytes(tokens, noise, sequences, tmp_path):
  names = [b"\xff.wav", "ü.wav".encode(), b"-a b,c:1.wav", b"two\nlines.wav"]
  for name in names:
    noise(os.fsdecode(name))
  out, *_ = tokens(tmp_path / "in")
  expected = [r"\xff.wav", "ü.wav", "-a b,c:1.wav", "two\nlines.wav"]
  assert {entry["source"] for entry, _ in sequences(out)} == set(expected)
  assert (out / "index.jsonl").read_bytes().isascii()


def test_the_readers_ten_lines_work_without_jax(
  tokens, noise, sequences, tmp_path
):
  noise("a.wav")
  noise("b.wav", channels=2)
  out, *_ = tokens(tmp_path / "in")
  text = (ROOT / "docs" / "tokens.md").read_text()
  (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
  lines = [line for line in code.splitlines() if line.strip()]
  assert len(lines) == 10
  closed = "import sys; sys.modules.update(jax=None, soundstream_jax=None)\n"
  done = subprocess.run(
    [sys.executable, "-c", f"{closed}{code}print(codes.tolist())"],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=True,
  )
  assert out == tmp_path / "tokens"
  found = sequences(out)
  assert len(found) == 3
  expected = [
    f"{entry['source']} {entry['channel']} {codes.shape} uint16"
    for entry, codes in found
  ]
  assert done.stdout.splitlines() == [*expected, str(found[-1][1].tolist())]
