"""Writes a dataset's files as TFDS lays them out, without TensorFlow.

A folder that `tfds.builder_from_directory` opens:

  audio_records-SPLIT.array_record-NNNNN-of-NNNNN   the records, see records.py
  features.json, dataset_info.json, metadata.json   what they are
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from soundstream_jax import errors, whole_files

INFO_FILE = "dataset_info.json"

_NAME = "audio_records"
# Written into dataset_info.json; it stays what it was, wherever this file is.
_MODULE_NAME = "soundstream_jax.data_pipelines.dataset_files"
# Any record can be read by itself. Compression takes a tenth off a file, and
# makes reading a record four times as expensive.
_WRITER = "group_size:1,uncompressed"


class Shard:
  """Writes records to one array_record file; `close` makes it complete."""

  def __init__(self, path: pathlib.Path):
    self.records = 0
    self.encoded_bytes = 0
    self._path = path
    self._features = _features()
    self._serializer = example_serializer.ExampleSerializer(
      self._features.get_serialized_info()
    )
    self._writer = array_record_module.ArrayRecordWriter(
      os.fspath(path), _WRITER
    )

  def add(self, audio: np.ndarray, group: str, source: str) -> None:
    example = self._serializer.get_tf_example(
      self._features.encode_example(
        {"audio": audio, "group": group, "source": source}
      )
    )
    # Else the order of the features differs from process to process.
    encoded = example.SerializeToString(deterministic=True)
    self._writer.write(encoded)
    self.records += 1
    self.encoded_bytes += len(encoded)

  def close(self) -> int:
    """Returns the size of the file in bytes, when it is safe on the disk."""
    self._writer.close()
    whole_files.sync(self._path)
    return self._path.stat().st_size


def shard_name(split: str, number: int, count: int) -> str:
  """Returns the file's name, as TFDS has it."""
  return f"{_NAME}-{split}.array_record-{number:05d}-of-{count:05d}"


def describe(
  folder: pathlib.Path,
  *,
  shard_lengths: Mapping[str, list[int]],
  encoded_bytes: Mapping[str, int],
  format_version: str,
  metadata: Mapping[str, Any],
) -> None:
  """Writes everything but the shards.

  Args:
    shard_lengths: split -> records of each shard; none for an empty split.
    encoded_bytes: split -> bytes of its records.
    metadata: what metadata.json says, as JSON values.
  """
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name=_NAME,
      version=tfds.core.Version(format_version),
      data_dir=str(folder),
      module_name=_MODULE_NAME,
    ),
    description="Mono audio for soundstream_jax, cut into records.",
    features=_features(),
    metadata=tfds.core.MetadataDict(metadata),
    disable_shuffling=True,  # training shuffles as it reads
  )
  info.set_file_format("array_record")
  info.set_splits(
    tfds.core.splits.SplitDict(
      [
        tfds.core.SplitInfo(
          name=split,
          shard_lengths=lengths,
          num_bytes=encoded_bytes[split],
          filename_template=tfds.core.ShardedFileTemplate(
            data_dir=folder,
            dataset_name=_NAME,
            split=split,
            filetype_suffix="array_record",
          ),
        )
        for split, lengths in shard_lengths.items()
        if lengths
      ]
    )
  )
  info.write_to_directory(folder)


@contextlib.contextmanager
def writing(out: pathlib.Path) -> Iterator[None]:
  """Names --out where its disk cannot be written to.

  Raises:
    DiskError, InputError: as `errors.writing`.
  """
  with errors.writing(f"--out={out}", out.parent):
    try:
      yield
    except RuntimeError as error:  # array_record's
      raise OSError(None, str(error).split(";")[0]) from None


def _features() -> tfds.features.FeaturesDict:
  return tfds.features.FeaturesDict(
    {
      # Without 'bytes' TFDS stores int64 varints: eight times slower.
      "audio": tfds.features.Tensor(
        shape=(None,), dtype=np.int16, encoding="bytes"
      ),
      "group": tfds.features.Text(),
      "source": tfds.features.Text(),
    }
  )
