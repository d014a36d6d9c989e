"""A source: one prepared dataset on disk, whose records are read by number."""

import bisect
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging
from tensorflow_datasets.proto import tf_example_pb2

from soundstream_jax import errors, paths
from soundstream_jax.data import dataset_folder, foreign

# Seconds before a record that could not be read is read again.
_PAUSES = (0.1, 1.0)


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

  @property
  def silent(self) -> bool:
    """True where the dataset says that all its records are."""
    return self._bandwidth_hz is not None and not self._bandwidth_hz.any()

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
    for pause in (*_PAUSES, None):
      try:
        return self._read(self._files[file][number - start])
      except (OSError, RuntimeError, ValueError) as error:
        # A network's disk may fail once; what is damaged stays damaged.
        if pause is not None and not isinstance(error, ValueError):
          logging.warning(
            "%s: record %d of the split %r in %s could not be read (%s): "
            "reading it again.",
            self.field,
            number,
            self.split,
            self.folder,
            error,
          )
          time.sleep(pause)
          continue
        raise errors.InputError(
          f"{self.field}: record {number} of the split {self.split!r} in "
          f"{self.folder} cannot be read, or is damaged ({error}). Prepare the "
          "dataset again, or copy it again."
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
    InputError: no such folder, no dataset in it, one that is damaged, foreign
      or cannot be read, or another sample rate.
  """
  errors.check_mounted(field, folder)
  paths.check_text(f"{field}={folder}", folder)
  with errors.reading(f"{field}: {folder}"):
    return _opened(folder, split, sample_rate_hz, field, min_bandwidth_hz)


def _opened(
  folder: str,
  split: str,
  sample_rate_hz: int,
  field: str,
  min_bandwidth_hz: float,
) -> Source:
  info_file = dataset_folder.find(folder, field)
  builder = dataset_folder.open_builder(info_file, field)
  ours = dataset_folder.is_prepared(builder.info)
  read = _reader(folder, field, builder.info, sample_rate_hz, ours=ours)
  foreign.check_format(field, info_file, builder.info.file_format.value)
  splits = _splits(folder, field, builder.info, split, ours=ours)
  dataset_folder.check_files(folder, field, splits)
  bandwidth_hz = (
    dataset_folder.bandwidths(info_file, split, field) if ours else None
  )
  source = Source(
    folder,
    split,
    sample_rate_hz,
    field,
    tuple(
      foreign.Files(str(info_file.parent), info.name, decoded=not ours)
      for info in splits
    ),
    tuple(itertools.accumulate(info.num_examples for info in splits)),
    read,
    _kept(folder, field, bandwidth_hz, min_bandwidth_hz),
    bandwidth_hz,
  )
  # The last record of each file: a copy that was cut short lacks it.
  lengths = [length for info in splits for length in info.shard_lengths]
  source.check([end - 1 for end in itertools.accumulate(lengths)])
  return source


def _reader(
  folder: str, field: str, info, sample_rate_hz: int, *, ours: bool
) -> Callable[[Any], dict[str, Any]]:
  """Returns what turns stored examples of a dataset into records.

  Raises:
    InputError: it has another format or rate, or holds no audio that is read.
  """
  if ours:
    dataset_folder.check_metadata(folder, field, info.metadata, sample_rate_hz)
    return _read
  read = foreign.reader(folder, field, info.features, sample_rate_hz)
  if read is None:
    raise errors.InputError(
      f"{field}: {folder} is a dataset of another kind ({info.name}). "
      f"Use one made by {dataset_folder.PREPARE}, or one with a "
      "tfds.features.Audio."
    )
  return read


def _splits(folder: str, field: str, info, split: str, *, ours: bool) -> list:
  """Returns the dataset's splits of which ours consists.

  Raises:
    SplitMissing: there are none with records.
  """
  present = [s for s, i in info.splits.items() if i.num_examples]
  if ours:
    names = [split] if split in present else []
  else:
    names = foreign.splits(split, present)
  if not names:
    raise SplitMissing(
      f"{field}: {folder} has no records in the split {split!r}; it has "
      f"{', '.join(present) or 'none at all'}. Prepare it with more groups "
      "(--group_by=file or depth:N) or another --split, or use another split."
    )
  return [info.splits[name] for name in names]


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
