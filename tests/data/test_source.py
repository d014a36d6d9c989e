"""Datasets that can be opened, and the errors of those that cannot."""

import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.data import foreign, source


def test_a_record_is_int16_audio_with_its_group_and_file(numbered):
  records = source.open_source(numbered, "train", 24_000)
  assert len(records) == 12
  record = records[3]
  assert record["audio"].dtype == np.int16
  np.testing.assert_array_equal(record["audio"], np.full(30_000, 4))
  assert (record["group"], record["source"]) == ("train03", "3.wav")


def test_a_pickled_source_reads_the_same(numbered):
  records = source.open_source(numbered, "train", 24_000)
  again = pickle.loads(pickle.dumps(records))
  assert len(again) == len(records)
  np.testing.assert_array_equal(again[5]["audio"], records[5]["audio"])


def test_a_folder_above_the_only_dataset_will_do(numbered, tmp_path):
  shutil.copytree(numbered, tmp_path / "audio_records" / "1.0.0")
  assert len(source.open_source(str(tmp_path), "train", 24_000)) == 12
  shutil.copytree(numbered, tmp_path / "other")
  with pytest.raises(errors.InputError, match="holds 2 datasets"):
    source.open_source(str(tmp_path), "train", 24_000)


def test_a_folder_without_a_dataset_is_an_input_error(tmp_path):
  for folder, reason in (
    (tmp_path / "none", "does not exist"),
    (tmp_path, "is empty"),
  ):
    with pytest.raises(errors.InputError, match=reason):
      source.open_source(str(folder), "train", 24_000)
  (tmp_path / "a.wav").write_text("")
  with pytest.raises(errors.InputError, match="holds no dataset"):
    source.open_source(str(tmp_path), "train", 24_000)
  with pytest.raises(errors.InputError, match="is a file"):
    source.open_source(str(tmp_path / "a.wav"), "train", 24_000)


def test_another_sample_rate_names_both_and_the_way_out(numbered):
  with pytest.raises(errors.InputError) as caught:
    source.open_source(numbered, "train", 16_000)
  assert "24000 Hz" in str(caught.value)
  assert "--sample_rate=16000" in str(caught.value)


def test_a_split_without_records_is_told_from_other_errors(numbered):
  with pytest.raises(source.SplitMissing, match="train, validation"):
    source.open_source(numbered, "test", 24_000)


def test_records_of_a_lower_bandwidth_are_left_out(voices, tmp_path):
  folder = pathlib.Path(shutil.copytree(voices, tmp_path / "copy"))
  everything = source.open_source(str(folder), "train", 24_000)
  bandwidth_hz = np.linspace(1_000, 10_000, len(everything), dtype=np.float32)
  np.save(folder / "bandwidth_hz-train.npy", bandwidth_hz)
  wide = source.open_source(
    str(folder), "train", 24_000, min_bandwidth_hz=5_000.0
  )
  kept = [n for n, hertz in enumerate(bandwidth_hz) if hertz >= 5_000]
  assert 0 < len(kept) < len(everything)
  assert len(wide) == len(kept)
  for record, number in zip(wide, kept, strict=True):
    np.testing.assert_array_equal(record["audio"], everything[number]["audio"])
    assert record["bandwidth_hz"] == bandwidth_hz[number]
  with pytest.raises(errors.InputError, match=r"widest has 10000 Hz"):
    source.open_source(str(folder), "train", 24_000, min_bandwidth_hz=11_000)


def _remove_shard(folder):
  next(folder.glob("*train.array_record*")).unlink()


def _cut_shard(folder):
  shard = next(folder.glob("*train.array_record*"))
  os.truncate(shard, shard.stat().st_size // 2)


def _break_bandwidths(folder):
  (folder / "bandwidth_hz-train.npy").write_bytes(b"\x93NUMPY")


def _break_info(folder):
  (folder / "dataset_info.json").write_text('{"a"')


def _other_kind(folder):
  (folder / "metadata.json").write_text("{}")


def _newer_format(folder):
  file = folder / "metadata.json"
  metadata = json.loads(file.read_text()) | {"format_version": "2.0.0"}
  file.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
  ("damage", "reason"),
  [
    (_remove_shard, "is missing"),
    (_cut_shard, "damaged"),
    (_break_info, "damaged"),
    (_break_bandwidths, "damaged"),
    (_other_kind, "another kind"),
    (_newer_format, "format version 2.0.0"),
  ],
)
def test_a_damaged_or_foreign_dataset_is_an_input_error(
  numbered, tmp_path, damage, reason
):
  folder = pathlib.Path(shutil.copytree(numbered, tmp_path / "copy"))
  damage(folder)
  with pytest.raises(errors.InputError, match=reason):
    source.open_source(str(folder), "train", 24_000)


def test_examples_load_no_jax_and_nothing_loads_tensorflow():
  script = """
import sys
import soundstream_jax.data.examples
assert not {"jax", "grain", "tensorflow"} & set(sys.modules), "examples"
import soundstream_jax.data.loader
import soundstream_jax.data_pipelines.prepare
assert "tensorflow" not in sys.modules, "loader, prepare"
"""
  subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_read_that_fails_once_is_made_again(numbered, monkeypatch):
  monkeypatch.setattr(source, "_PAUSES", (0, 0))
  records = source.open_source(numbered, "train", 24_000)
  before = records[0]
  failures = [OSError(5, "Input/output error"), RuntimeError("timed out")]
  read = foreign.Files.__getitem__

  def flaky(self, index):
    if failures:
      raise failures.pop()
    return read(self, index)

  monkeypatch.setattr(foreign.Files, "__getitem__", flaky)
  np.testing.assert_array_equal(records[0]["audio"], before["audio"])
  assert failures == []
  failures.extend([OSError(5, "Input/output error")] * 3)
  with pytest.raises(errors.InputError, match=r"record 0 .*Input/output error"):
    records[0]
