"""Folder of a prepared dataset: found, opened and checked."""

import contextlib
import glob
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from soundstream_jax import errors, paths
from soundstream_jax.data import foreign

PREPARE = "python -m soundstream_jax.data_pipelines.prepare"
_INFO_FILE = "dataset_info.json"
_FEATURES = {"audio", "group", "source"}
_BANDWIDTHS = "bandwidth_hz-{split}.npy"
_FORMAT = 1  # major number of the format version in metadata.json


def find(folder: str, field: str) -> pathlib.Path:
  """Returns the dataset_info.json in the folder or up to three levels below.

  Raises:
    InputError: no such folder, none, or more than one; or a name that the
      system refuses.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    problem = (
      "is a file"
      if paths.exists(f"{field}: {folder}", root)
      else "does not exist"
    )
    raise errors.InputError(
      f"{field}: {folder} {problem}{_meant(root)}. Use the folder that {PREPARE} "
      "made."
    )
  found = info_files(root)
  if not found:
    what = "holds no dataset" if any(root.iterdir()) else "is empty"
    raise errors.InputError(
      f"{field}: {folder} {what}. Make one with {PREPARE} --out={folder}."
    )
  if len(found) > 1:
    names = ", ".join(str(file.parent) for file in found[:4])
    raise errors.InputError(
      f"{field}: {folder} holds {len(found)} datasets: {names}. Name "
      "each of them, as DIR:weight,DIR:weight."
    )
  return found[0]


def info_files(root: pathlib.Path) -> list[pathlib.Path]:
  """Returns the dataset_info.json of a folder, or those up to three below."""
  if (root / _INFO_FILE).is_file():
    return [root / _INFO_FILE]
  return [
    file
    for depth in (1, 2, 3)
    for file in sorted(root.glob("*/" * depth + _INFO_FILE))
    if not file.relative_to(root).parts[0].startswith(".")
  ]


def _meant(root: pathlib.Path) -> str:
  """Says where a name was looked for, and what may have been meant."""
  if root.exists():
    return ""
  with contextlib.suppress(OSError):
    for path in sorted(
      root.absolute().parent.glob(f"{glob.escape(root.name)}[,:]*")
    ):
      return (
        f"; {path} does. Write a comma in a name as \\, and behind a name with "
        "a colon a weight, DIR:1"
      )
  if root.is_absolute():
    return ""
  here = pathlib.Path.cwd()
  for above in here.parents:
    if (above / root).is_dir():
      return (
        f" in {here}, but it does in {above}: run the command there, or write "
        f"{above / root}"
      )
  return (
    f" in {here}, where this command runs. Run it where {root} is, or write "
    "the whole path, which --config.data.* also takes on resume"
  )


def open_builder(
  info_file: pathlib.Path, field: str
) -> tfds.core.DatasetBuilder:
  """Returns TFDS's view of a dataset, without TensorFlow.

  Raises:
    InputError: the file is damaged.
    PermissionError: it cannot be read.
  """
  try:
    json.loads(info_file.read_text())
    with foreign.without_tensorflow():
      return tfds.builder_from_directory(info_file.parent)
  except PermissionError:
    raise
  except (OSError, ValueError) as error:
    raise errors.InputError(
      f"{field}: {info_file} is damaged ({error}). Prepare the dataset again "
      f"with {PREPARE}."
    ) from None


def is_prepared(info: tfds.core.DatasetInfo) -> bool:
  """True for what data_pipelines.prepare makes; else another tool made it."""
  return set(info.features) >= _FEATURES and (
    {"sample_rate_hz", "format_version"} <= set(info.metadata or {})
  )


def check_metadata(
  folder: str, field: str, metadata: Mapping[str, Any], sample_rate_hz: int
) -> None:
  """Refuses a prepared dataset of another format or sample rate.

  Raises:
    InputError: it has another.
  """
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


def check_files(
  folder: str, field: str, splits: Iterable[tfds.core.SplitInfo]
) -> None:
  """Refuses a dataset that lacks one of its files.

  Raises:
    InputError: names the file.
  """
  for info in splits:
    for path in info.filepaths:
      if not path.exists():
        raise errors.InputError(
          f"{field}: {path} is missing, a part of {folder}. Prepare the "
          "dataset again, or copy it again."
        )


def bandwidths(
  info_file: pathlib.Path, split: str, field: str
) -> np.ndarray | None:
  """Returns the bandwidth of every record in Hz; None: format 1.0 has none.

  Raises:
    InputError: the file is damaged.
    PermissionError: it cannot be read.
  """
  file = info_file.parent / _BANDWIDTHS.format(split=split)
  if not file.exists():
    return None
  try:
    return np.load(file, allow_pickle=False)
  except PermissionError:
    raise
  except (OSError, ValueError, EOFError) as error:
    raise errors.InputError(
      f"{field}: {file} is damaged ({error}). Prepare the dataset again, or "
      "copy it again."
    ) from None
