"""Datasets in the form of the TFDS catalogue, read without TensorFlow."""

import io
import json
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

from soundstream_jax import errors
from soundstream_jax.audio import resampling, waveform
from soundstream_jax.data import source

RATE_HZ = 24_000
TONE = np.rint(
  9_000 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)
).astype(np.int64)


def _file_bytes(pcm, rate_hz):
  stream = io.BytesIO()
  soundfile.write(stream, pcm.astype(np.int16), rate_hz, format="FLAC")
  return stream.getvalue()


def _write(
  folder, *, splits, file_format="array_record", lazy=False, rate=RATE_HZ
):
  """Writes what `tfds build libritts` leaves: an Audio, speaker and id."""
  # Only TensorFlow writes an Audio: its bytes are written as what they are,
  # and named in features.json.
  stored = (
    tfds.features.Text()
    if lazy
    else tfds.features.Tensor(shape=(None,), dtype=np.int64)
  )
  features = tfds.features.FeaturesDict(
    {
      "speech": stored,
      "speaker_id": tfds.features.Scalar(dtype=np.int64),
      "id": tfds.features.Text(),
    }
  )
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name="speech", version="1.0.0", data_dir=str(folder), module_name="x"
    ),
    features=features,
    disable_shuffling=True,
  )
  folder.mkdir()
  writer = tfds.core.SequentialWriter(
    info, max_examples_per_shard=2, file_format=file_format
  )
  for split, count in splits.items():
    writer.initialize_splits([split])
    speech = _file_bytes(TONE, rate) if lazy else TONE
    writer.add_examples(
      {
        split: [
          {"speech": speech, "speaker_id": k, "id": f"{split}{k}"}
          for k in range(count)
        ]
      }
    )
  writer.close_all()
  file = folder / "features.json"
  values = json.loads(file.read_text())
  values["featuresDict"]["features"]["speech"] = {
    "pythonClassName": "tensorflow_datasets.core.features.audio_feature.Audio",
    "audio": {
      "shape": {"dimensions": ["-1"]},
      "dtype": "int64",
      "encoding": "none",
      "lazyDecode": lazy,
      **({"sampleRate": str(rate)} if rate else {}),
      **({"fileFormat": "flac"} if lazy else {}),
    },
  }
  file.write_text(json.dumps(values))
  return str(folder)


def test_splits_of_the_catalogue_are_joined_under_our_names(tmp_path):
  folder = _write(
    tmp_path / "libritts",
    splits={"train_clean100": 3, "train_clean360": 2, "dev_clean": 1},
  )
  records = source.open_source(folder, "train", RATE_HZ)
  assert len(records) == 5
  assert [record["group"] for record in records] == ["0", "1", "2", "0", "1"]
  assert records[3]["source"] == "train_clean3600"
  assert records[4]["audio"].dtype == np.int16
  np.testing.assert_array_equal(records[4]["audio"], TONE)
  assert len(source.open_source(folder, "validation", RATE_HZ)) == 1
  with pytest.raises(source.SplitMissing, match="dev_clean"):
    source.open_source(folder, "test", RATE_HZ)


def test_another_rate_is_resampled_as_it_is_read(tmp_path):
  folder = _write(tmp_path / "vctk", splits={"train": 1}, rate=48_000)
  (record,) = source.open_source(folder, "train", RATE_HZ)
  expected = resampling.resample(
    waveform.to_float32(TONE)[:, None], 48_000, RATE_HZ
  )
  np.testing.assert_array_equal(
    record["audio"], waveform.to_int16(expected[:, 0])
  )


def test_files_that_are_decoded_when_read_are_decoded(tmp_path):
  folder = _write(tmp_path / "lazy", splits={"train": 2}, lazy=True)
  records = source.open_source(folder, "train", RATE_HZ)
  np.testing.assert_array_equal(records[1]["audio"], TONE)


def test_a_pickled_source_reads_in_a_process_without_tensorflow(tmp_path):
  folder = _write(tmp_path / "libritts", splits={"train": 2})
  records = source.open_source(folder, "train", RATE_HZ)
  file = tmp_path / "source.bin"
  file.write_bytes(pickle.dumps(records))
  script = f"""
import pathlib, pickle, sys
records = pickle.loads(pathlib.Path({str(file)!r}).read_bytes())
assert len(records[1]["audio"]) == {RATE_HZ}
assert "tensorflow" not in sys.modules
"""
  subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_format_without_random_access_names_the_conversion(tmp_path):
  folder = pathlib.Path(_write(tmp_path / "libritts", splits={"train": 1}))
  file = folder / "dataset_info.json"
  info = json.loads(file.read_text()) | {"fileFormat": "tfrecord"}
  for split in info["splits"]:
    split["filepathTemplate"] = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
  file.write_text(json.dumps(info))
  with pytest.raises(errors.InputError, match="tfds convert_format --dataset"):
    source.open_source(str(folder), "train", RATE_HZ)


def test_audio_of_an_unknown_rate_says_where_it_is_written(tmp_path):
  folder = _write(tmp_path / "odd", splits={"train": 1}, rate=None)
  with pytest.raises(errors.InputError, match="sampleRate"):
    source.open_source(folder, "train", RATE_HZ)
