"""One prepared dataset on disk as a random-access source of records."""

import bisect
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from soundstream_jax import errors
from soundstream_jax.data import foreign

_INFO_FILE = "dataset_info.json"
_FEATURES = {"audio", "group", "source"}
_BANDWIDTHS = "bandwidth_hz-{split}.npy"
_FORMAT = 1  # major number of the format version in metadata.json
_PREPARE = "python -m soundstream_jax.data_pipelines.prepare"


class SplitMissing(errors.InputError):
  """The dataset is fine, but has no records in the split asked for."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """Records of one split by number. Can be pickled, read from any thread."""

  folder: str
  split: str
  sample_rate_hz: int
  field: str  # of the configuration that names the folder
  _files: Sequence[foreign.Files] = dataclasses.field(repr=False)
  _ends: Sequence[int] = dataclasses.field(repr=False)  # of each of `_files`
  _read: Callable[[Any], dict[str, Any]] = dataclasses.field(repr=False)
  # Of the records that are kept: their numbers, or None if all are.
  _kept: np.ndarray | None = dataclasses.field(repr=False)
  # Of all records, where the dataset says so.
  _bandwidth_hz: np.ndarray | None = dataclasses.field(repr=False)

  def __len__(self) -> int:
    return self._ends[-1] if self._kept is None else len(self._kept)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """Returns {audio: int16 [N], group: str, source: str}.

    And bandwidth_hz: float, where the dataset holds it.

    Raises:
      InputError: the record is damaged on disk.
    """
    if not 0 <= index < len(self):
      raise IndexError(index)
    number = int(index if self._kept is None else self._kept[index])
    record = self._record(number)
    if self._bandwidth_hz is not None:
      record["bandwidth_hz"] = float(self._bandwidth_hz[number])
    return record

  def _record(self, number: int) -> dict[str, Any]:
    file = bisect.bisect_right(self._ends, number)
    start = self._ends[file - 1] if file else 0
    try:
      return self._read(self._files[file][number - start])
    except (OSError, RuntimeError, ValueError) as error:
      raise errors.InputError(
        f"{self.field}: record {number} of the split {self.split!r} in "
        f"{self.folder} is damaged ({error}). Prepare the dataset again, or "
        "copy it again."
      ) from None

  def check(self, numbers: Sequence[int]) -> None:
    """Reads records; raises InputError if one is damaged."""
    for number in numbers:
      self._record(number)


def open_source(
  folder: str,
  split: str,
  sample_rate_hz: int,
  *,
  field: str = "data.sources",
  min_bandwidth_hz: float = 0.0,
) -> Source:
  """Opens a split of a dataset in array_record.

  One that data_pipelines.prepare made, or one of `foreign`.

  Args:
    folder: what `--out` was, or a folder above the only dataset in it.
    split: 'train', 'validation' or 'test'.
    sample_rate_hz: the rate that the model works at.
    field: of the configuration that names the folder, for messages.
    min_bandwidth_hz: records of a lower bandwidth are left out; those of an
      unknown one are not.

  Raises:
    SplitMissing: the split has no records.
    InputError: no such folder, no dataset in it, a damaged or foreign one, or
      another sample rate.
  """
  errors.check_mounted(field, folder)
  info_file = _find(folder, field)
  builder = _builder(info_file, field)
  metadata = dict(builder.info.metadata or {})
  ours = set(builder.info.features) >= _FEATURES and (
    {"sample_rate_hz", "format_version"} <= set(metadata)
  )
  present = [s for s, i in builder.info.splits.items() if i.num_examples]
  if ours:
    _check_metadata(folder, field, metadata, sample_rate_hz)
    read, splits = _read, [split] if split in present else []
  else:
    read = foreign.reader(folder, field, builder.info.features, sample_rate_hz)
    splits = foreign.splits(split, present)
  if read is None:
    raise errors.InputError(
      f"{field}: {folder} is a dataset of another kind ({builder.info.name}). "
      f"Use one made by {_PREPARE}, or one with a tfds.features.Audio."
    )
  foreign.check_format(field, info_file, builder.info.file_format.value)
  if not splits:
    raise SplitMissing(
      f"{field}: {folder} has no records in the split {split!r}; it has "
      f"{', '.join(present) or 'none at all'}. Prepare it with more groups "
      "(--group_by=file or depth:N) or another --split, or use another split."
    )
  for name in splits:
    for path in builder.info.splits[name].filepaths:
      if not path.exists():
        raise errors.InputError(
          f"{field}: {path} is missing, a part of {folder}. Prepare the "
          "dataset again, or copy it again."
        )
  bandwidth_hz = _bandwidths(info_file, split, field) if ours else None
  lengths = [builder.info.splits[name].num_examples for name in splits]
  source = Source(
    folder,
    split,
    sample_rate_hz,
    field,
    tuple(
      foreign.Files(str(info_file.parent), name, decoded=not ours)
      for name in splits
    ),
    tuple(itertools.accumulate(lengths)),
    read,
    _kept(folder, field, bandwidth_hz, min_bandwidth_hz),
    bandwidth_hz,
  )
  # The last record of each file: a copy that was cut short lacks it.
  shards = [
    n for name in splits for n in builder.info.splits[name].shard_lengths
  ]
  source.check([end - 1 for end in itertools.accumulate(shards)])
  return source


def _builder(info_file: pathlib.Path, field: str):
  try:
    json.loads(info_file.read_text())
    with foreign.without_tensorflow():
      return tfds.builder_from_directory(info_file.parent)
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f"{field}: {info_file} is damaged ({error}). Prepare the dataset again "
      f"with {_PREPARE}."
    ) from None


def _check_metadata(folder, field, metadata, sample_rate_hz: int) -> None:
  if int(metadata["format_version"].split(".")[0]) != _FORMAT:
    raise errors.InputError(
      f"{field}: {folder} has format version {metadata['format_version']}; "
      f"this version reads {_FORMAT}.x. Prepare the dataset again."
    )
  if metadata["sample_rate_hz"] != sample_rate_hz:
    raise errors.InputError(
      f"{field}: {folder} has a sample rate of {metadata['sample_rate_hz']} "
      f"Hz, the model audio.sample_rate_hz={sample_rate_hz}. Prepare it again "
      f"with --sample_rate={sample_rate_hz}."
    )


def _read(stored: bytes) -> dict[str, Any]:
  # What TFDS makes of the features takes longer than to parse them.
  features = tf_example_pb2.Example.FromString(stored).features.feature
  audio, group, source = (
    features[name].bytes_list.value[0] for name in ("audio", "group", "source")
  )
  return {
    "audio": np.frombuffer(audio, np.int16),
    "group": group.decode(),
    "source": source.decode(),
  }


def _bandwidths(
  info_file: pathlib.Path, split: str, field: str
) -> np.ndarray | None:
  """Returns the bandwidth of every record in Hz; None: format 1.0 has none."""
  file = info_file.parent / _BANDWIDTHS.format(split=split)
  if not file.exists():
    return None
  try:
    return np.load(file, allow_pickle=False)
  except (OSError, ValueError, EOFError) as error:
    raise errors.InputError(
      f"{field}: {file} is damaged ({error}). Prepare the dataset again, or "
      "copy it again."
    ) from None


def _kept(folder, field, bandwidth_hz, least_hz: float) -> np.ndarray | None:
  """Returns the numbers of the records that are wide enough; None is all."""
  if bandwidth_hz is None or not least_hz:
    return None
  kept = np.flatnonzero(bandwidth_hz >= least_hz)
  if not len(kept):
    raise errors.InputError(
      f"{field}: {folder} has no record of a bandwidth of "
      f"data.min_bandwidth_hz={least_hz:g}; the widest has "
      f"{bandwidth_hz.max():.0f} Hz. Use a lower one, or other audio."
    )
  return kept


def _find(folder: str, field: str) -> pathlib.Path:
  """Returns the dataset_info.json in the folder or up to three levels below.

  Raises:
    InputError: no such folder, none, or more than one.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    problem = "is a file" if root.exists() else "does not exist"
    raise errors.InputError(
      f"{field}: {folder} {problem}. Use the folder that {_PREPARE} made."
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
      f"{field}: {folder} {what}. Make one with {_PREPARE} --out={folder}."
    )
  if len(found) > 1:
    names = ", ".join(str(file.parent) for file in found[:4])
    raise errors.InputError(
      f"{field}: {folder} holds {len(found)} datasets: {names}. Name "
      "each of them, as DIR:weight,DIR:weight."
    )
  return found[0]
