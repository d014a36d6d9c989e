"""Makes the dataset, under its own name, of the complete shards of a plan."""

import dataclasses
import io
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from soundstream_jax import errors, whole_files
from soundstream_jax.data_pipelines.audio import measure
from soundstream_jax.data_pipelines.preparation import (
  dataset_files,
  datasheet,
  disk,
  records,
  shards,
)
from soundstream_jax.data_pipelines.preparation import plan as plan_lib


@dataclasses.dataclass(frozen=True)
class _Split:
  """The shards of one split, added up.

  Attributes:
    shard_lengths: records of each shard that has any.
    encoded_bytes: of its records.
  """

  tally: records.Tally
  sound: measure.Sound
  shard_lengths: list[int]
  encoded_bytes: int


def assemble(
  folder: pathlib.Path,
  plan: plan_lib.Plan,
  *,
  out: pathlib.Path,
  about: Mapping[str, str],
) -> tuple[dict[str, records.Tally], dict[str, Any]]:
  """Makes the dataset of the shards in the working folder, and removes it.

  `out` appears complete or not at all. A run that ends on the way is resumed:
  shards are renamed one by one, their sidecars stay until the end.

  Args:
    about: licence, citation, version and so on, for metadata.json.

  Returns:
    (split -> its tally, the datasheet).

  Raises:
    InputError: there is nothing to train on.
    OSError: the disk cannot be written to.
  """
  results = shards.complete(folder, plan)
  _check_training(folder, plan, results)
  dataset = folder / shards.FINISHING
  dataset.mkdir(exist_ok=True)
  splits = {}
  for split in records.SPLITS:
    own = {n: r for n, r in results.items() if r.split == split}
    _rename_shards(folder, dataset, split, own)
    splits[split] = _add_up(own)
    _save_bandwidths(dataset, split, splits[split])
  _describe(dataset, plan, splits, about)
  sheet = _make_datasheet(plan, results, splits, about)
  disk.write(
    dataset / "datasheet.json", json.dumps(sheet, indent=1).encode() + b"\n"
  )
  datasheet.draw(sheet, dataset / "datasheet.png")
  for path in dataset.iterdir():
    whole_files.sync(path)
  os.replace(dataset, out)
  # Another command that sees the dataset removes this folder, too.
  shutil.rmtree(folder, ignore_errors=True)
  return {split: added.tally for split, added in splits.items()}, sheet


def _check_training(
  folder: pathlib.Path,
  plan: plan_lib.Plan,
  results: Mapping[int, shards.Result],
) -> None:
  """Refuses a training split without records, and removes its shards.

  Raises:
    InputError: it has none.
  """
  for result in results.values():
    if result.split == "train" and result.tally.records:
      return
  shutil.rmtree(folder / shards.FOLDER)  # nothing of use to a later run
  if plan.settings["kind"] == "rooms":
    raise errors.InputError(
      "no impulse response for training could be read. Use more files."
    )
  raise errors.InputError(
    f"no audio for training lasts {records.SHORTEST_SECONDS} s or more, the "
    "shortest record. Use more audio, or larger groups (--group_by)."
  )


def _rename_shards(
  folder: pathlib.Path,
  dataset: pathlib.Path,
  split: str,
  results: Mapping[int, shards.Result],
) -> None:
  """Gives a split's shards their names; those without records have no file."""
  filled = [number for number, result in results.items() if result.size_bytes]
  for place, number in enumerate(filled):
    target = dataset / dataset_files.shard_name(split, place, len(filled))
    if not target.exists():  # else an earlier run has renamed it
      os.replace(shards.shard_path(folder, number), target)


def _add_up(results: Mapping[int, shards.Result]) -> _Split:
  """Adds up the results of a split's shards."""
  tally, sound = records.Tally(), measure.Sound()
  for result in results.values():
    tally.add(result.tally)
    sound.add(result.sound)
  filled = [result for result in results.values() if result.size_bytes]
  return _Split(
    tally,
    sound,
    [result.tally.records for result in filled],
    sum(result.encoded_bytes for result in filled),
  )


def _save_bandwidths(dataset: pathlib.Path, split: str, added: _Split) -> None:
  if added.tally.records:
    bandwidths = np.asarray(added.sound.bandwidth_hz, np.float32)
    file = io.BytesIO()
    np.save(file, bandwidths, allow_pickle=False)
    disk.write(dataset / f"bandwidth_hz-{split}.npy", file.getvalue())


def _describe(
  dataset: pathlib.Path,
  plan: plan_lib.Plan,
  splits: Mapping[str, _Split],
  about: Mapping[str, str],
) -> None:
  """Writes what TFDS and training read beside the shards."""
  settings = dict(plan.settings)
  sample_rate_hz = settings.pop("sample_rate")
  dataset_files.describe(
    dataset,
    shard_lengths={s: added.shard_lengths for s, added in splits.items()},
    encoded_bytes={s: added.encoded_bytes for s, added in splits.items()},
    format_version=records.FORMAT_VERSION,
    metadata={
      "sample_rate_hz": sample_rate_hz,
      "format_version": records.FORMAT_VERSION,
      **settings,
      **about,
      "splits": records.describe_splits(
        {s: added.tally for s, added in splits.items()}
      ),
    },
  )


def _make_datasheet(
  plan: plan_lib.Plan,
  results: Mapping[int, shards.Result],
  splits: Mapping[str, _Split],
  about: Mapping[str, str],
) -> dict[str, Any]:
  return datasheet.make(
    {split: added.tally for split, added in splits.items()},
    {split: added.sound for split, added in splits.items()},
    [skipped for result in results.values() for skipped in result.skipped],
    [damaged for result in results.values() for damaged in result.damaged],
    num_files=plan.num_files,
    sample_rate_hz=plan.settings["sample_rate"],
    about={
      "dataset": plan.settings["dataset"],
      "kind": plan.settings["kind"],
      **about,
    },
  )
