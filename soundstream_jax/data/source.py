"""One prepared dataset on disk as a random-access source of records."""

import dataclasses
import itertools
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from soundstream_jax import errors

_INFO_FILE = "dataset_info.json"
_FEATURES = {"audio", "group", "source"}
_FORMAT = 1  # major number of the format version in metadata.json
_PREPARE = "python -m soundstream_jax.data_pipelines.prepare"


class SplitMissing(errors.InputError):
  """The dataset is fine, but has no records in the split asked for."""


@dataclasses.dataclass(frozen=True)
class Source:
  """Records of one split by number. Can be pickled, read from any thread."""

  folder: str
  split: str
  sample_rate_hz: int
  _records: Any = dataclasses.field(repr=False)

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Returns {audio: int16 [N], group: str, source: str}.

    Raises:
      InputError: the record is damaged on disk.
    """
    try:
      record = self._records[index]
    except (OSError, RuntimeError, ValueError) as error:
      raise errors.InputError(
        f"data.sources: record {index} of the split {self.split!r} in "
        f"{self.folder} is damaged ({error}). Prepare the dataset again, or "
        "copy it again."
      ) from None
    return {
      "audio": np.asarray(record["audio"]),
      "group": record["group"].decode(),
      "source": record["source"].decode(),
    }


def open_source(folder: str, split: str, sample_rate_hz: int) -> Source:
  """Opens a split of a dataset that data_pipelines.prepare made.

  Args:
    folder: what `--out` was, or a folder above the only dataset in it.
    sample_rate_hz: the rate that the model works at.

  Raises:
    SplitMissing: the split has no records.
    InputError: no such folder, no dataset in it, a damaged or foreign one, or
      another sample rate.
  """
  errors.check_mounted("data.sources", folder)
  info_file = _find(folder)
  try:
    json.loads(info_file.read_text())
    builder = tfds.builder_from_directory(info_file.parent)
    metadata = dict(builder.info.metadata or {})
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f"data.sources: {info_file} is damaged ({error}). Prepare the dataset "
      f"again with {_PREPARE}."
    ) from None
  if not set(builder.info.features) >= _FEATURES or not {
    "sample_rate_hz",
    "format_version",
  } <= set(metadata):
    raise errors.InputError(
      f"data.sources: {folder} is a dataset of another kind "
      f"({builder.info.name}). Use one made by {_PREPARE}."
    )
  if int(metadata["format_version"].split(".")[0]) != _FORMAT:
    raise errors.InputError(
      f"data.sources: {folder} has format version "
      f"{metadata['format_version']}; this version reads {_FORMAT}.x. Prepare "
      "the dataset again."
    )
  if metadata["sample_rate_hz"] != sample_rate_hz:
    raise errors.InputError(
      f"data.sources: {folder} has a sample rate of "
      f"{metadata['sample_rate_hz']} Hz, the model "
      f"audio.sample_rate_hz={sample_rate_hz}. Prepare it again with "
      f"--sample_rate={sample_rate_hz}."
    )
  present = [s for s, i in builder.info.splits.items() if i.num_examples]
  if split not in present:
    raise SplitMissing(
      f"data.sources: {folder} has no records in the split {split!r}; it has "
      f"{', '.join(present) or 'none at all'}. Prepare it with more groups "
      "(--group_by=file or depth:N) or another --split, or use another split."
    )
  for path in builder.info.splits[split].filepaths:
    if not path.exists():
      raise errors.InputError(
        f"data.sources: {path} is missing, a part of {folder}. Prepare the "
        "dataset again, or copy it again."
      )
  source = Source(folder, split, sample_rate_hz, builder.as_data_source(split))
  # The last record of each file: a copy that was cut short lacks it.
  for end in itertools.accumulate(builder.info.splits[split].shard_lengths):
    source[end - 1]
  return source


def _find(folder: str) -> pathlib.Path:
  """Returns the dataset_info.json in the folder or up to three levels below.

  Raises:
    InputError: no such folder, none, or more than one.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    problem = "is a file" if root.exists() else "does not exist"
    raise errors.InputError(
      f"data.sources: {folder} {problem}. Use the folder that {_PREPARE} made."
    )
  if (root / _INFO_FILE).is_file():
    return root / _INFO_FILE
  found = [
    file
    for depth in (1, 2, 3)
    for file in sorted(root.glob("*/" * depth + _INFO_FILE))
    if not file.relative_to(root).parts[0].startswith(".")
  ]
  if not found:
    what = "holds no dataset" if any(root.iterdir()) else "is empty"
    raise errors.InputError(
      f"data.sources: {folder} {what}. Make one with {_PREPARE} --out={folder}."
    )
  if len(found) > 1:
    names = ", ".join(str(file.parent) for file in found[:4])
    raise errors.InputError(
      f"data.sources: {folder} holds {len(found)} datasets: {names}. Name "
      "each of them, as DIR:weight,DIR:weight."
    )
  return found[0]
