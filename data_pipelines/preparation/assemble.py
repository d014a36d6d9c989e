"""All shards of a plan, complete -> the dataset, under its own name."""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from soundstream_jax import errors
from soundstream_jax.data_pipelines.audio import measure
from soundstream_jax.data_pipelines.preparation import (
  dataset_files,
  datasheet,
  disk,
  records,
  shards,
)
from soundstream_jax.data_pipelines.preparation import plan as plan_lib


def finish(
  folder: pathlib.Path,
  plan: plan_lib.Plan,
  *,
  out: pathlib.Path,
  about: Mapping[str, str],
) -> tuple[dict[str, records.Tally], dict[str, Any]]:
  """Makes the dataset of the shards in the working folder, and removes it.

  `out` appears complete or not at all. A run that ends on the way is gone on
  with: shards are renamed one by one, their sidecars stay until the end.

  Args:
    about: licence, citation, version and so on, for metadata.json.

  Returns:
    what each split came to, and the datasheet.

  Raises:
    InputError: there is nothing to train on.
    OSError: the disk cannot be written to.
  """
  results = shards.complete(folder, plan)
  if not any(
    result.tally.records
    for result in results.values()
    if result.split == "train"
  ):
    shutil.rmtree(folder / shards.FOLDER)  # there is nothing to go on with
    raise errors.InputError(_nothing_to_train_on(plan))
  dataset = folder / shards.FINISHING
  dataset.mkdir(exist_ok=True)
  tallies = {split: records.Tally() for split in records.SPLITS}
  lengths, encoded, sounds = {}, {}, {}
  for split, tally in tallies.items():
    own = [n for n, result in results.items() if result.split == split]
    for number in own:
      tally.add(results[number].tally)
    filled = [n for n in own if results[n].size_bytes]
    for place, number in enumerate(filled):
      target = dataset / dataset_files.shard_name(split, place, len(filled))
      if not target.exists():
        os.replace(shards.shard_path(folder, number), target)
    lengths[split] = [results[n].tally.records for n in filled]
    encoded[split] = sum(results[n].encoded_bytes for n in filled)
    sounds[split] = measure.Sound()
    for number in own:
      sounds[split].add(results[number].sound)
    if tally.records:
      np.save(
        dataset / f"bandwidth_hz-{split}.npy",
        np.asarray(sounds[split].bandwidth_hz, np.float32),
        allow_pickle=False,
      )
  dataset_files.describe(
    dataset,
    shard_lengths=lengths,
    encoded_bytes=encoded,
    format_version=records.FORMAT_VERSION,
    metadata={
      "sample_rate_hz": plan.settings["sample_rate"],
      "format_version": records.FORMAT_VERSION,
      **{k: v for k, v in plan.settings.items() if k != "sample_rate"},
      **about,
      "splits": records.describe_splits(tallies),
    },
  )
  sheet = datasheet.make(
    tallies,
    sounds,
    [skipped for result in results.values() for skipped in result.skipped],
    num_files=plan.num_files,
    sample_rate_hz=plan.settings["sample_rate"],
    about={
      "dataset": plan.settings["dataset"],
      "kind": plan.settings["kind"],
      **about,
    },
  )
  disk.write(
    dataset / "datasheet.json", json.dumps(sheet, indent=1).encode() + b"\n"
  )
  datasheet.draw(sheet, dataset / "datasheet.png")
  os.replace(dataset, out)
  shutil.rmtree(folder)
  return tallies, sheet


def _nothing_to_train_on(plan: plan_lib.Plan) -> str:
  if plan.settings["kind"] == "rooms":
    return "no impulse response for training could be read. Use more files."
  return (
    f"no audio for training lasts {records.SHORTEST_SECONDS} s or more, the "
    "shortest record. Use more audio, or larger groups (--group_by)."
  )
