"""Decides which files become which shard: the same for the same input.

A plan is made once, written to the working folder beside --out, and read by
every process that builds one of its shards, on this machine or another.

plan.json, version 1:
  version   1
  settings  what shapes the records, by the names of the flags
  shards    [{split, files: [[path, name, group, size_bytes], ...]}, ...]
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from soundstream_jax import errors
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.preparation import disk, records

# A shard is 1/32 of the input so that every worker gets a share, but not so
# small that writing it is mostly opening files, nor so large that a kill
# costs much. Beyond 64 GB they grow: a folder of a thousand files is enough.
SMALLEST_SHARD_BYTES = 8 << 20
LARGEST_SHARD_BYTES = 64 << 20
SHARDS = 32
MOST_SHARDS = 1_000

_FILE = "plan.json"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Shard:
  split: str
  files: tuple[corpus.File, ...]

  @property
  def size_bytes(self) -> int:
    return sum(file.size_bytes for file in self.files)


@dataclasses.dataclass(frozen=True)
class Plan:
  """Shards in the order of their splits, and what shapes their records."""

  settings: Mapping[str, Any]
  shards: tuple[Shard, ...]

  @property
  def size_bytes(self) -> int:
    return sum(shard.size_bytes for shard in self.shards)

  @property
  def num_files(self) -> int:
    return sum(len(shard.files) for shard in self.shards)


def make(files: Iterable[corpus.File], settings: Mapping[str, Any]) -> Plan:
  """Cuts files into shards.

  They are ordered by split, group and name. A group stays whole unless it is
  larger than a shard by itself.

  Args:
    files: each with its split; '' where `settings["split"]` decides by the
      group's name.

  Raises:
    InputError: nothing falls into the training split.
  """
  percentages = records.parse_split(settings["split"])
  splits = {split: [] for split in records.SPLITS}
  for file in files:
    split = file.split or records.split_of(file.group, percentages)
    splits[split].append(dataclasses.replace(file, split=split))
  if not splits["train"]:
    raise errors.InputError(_nothing_to_train_on(splits, settings))
  total = sum(f.size_bytes for members in splits.values() for f in members)
  limit = shard_bytes(total)
  shards = [
    Shard(split, files)
    for split, members in splits.items()
    for files in _cut(sorted(members, key=_order), limit)
  ]
  return Plan(dict(settings), tuple(shards))


def shard_bytes(total_bytes: int) -> int:
  """Returns how much input goes into one shard."""
  share = max(SMALLEST_SHARD_BYTES, total_bytes // SHARDS)
  return max(min(share, LARGEST_SHARD_BYTES), total_bytes // MOST_SHARDS)


def save(folder: pathlib.Path, plan: Plan) -> None:
  value = {
    "version": _VERSION,
    "settings": dict(plan.settings),
    "shards": [
      {
        "split": shard.split,
        "files": [
          [str(file.path), file.name, file.group, file.size_bytes]
          for file in shard.files
        ],
      }
      for shard in plan.shards
    ],
  }
  disk.write(folder / _FILE, json.dumps(value).encode())


def load(folder: pathlib.Path) -> Plan | None:
  """Returns the folder's plan; None if there is none that can be read."""
  try:
    value = json.loads((folder / _FILE).read_bytes())
  except (FileNotFoundError, ValueError):
    return None
  if value["version"] != _VERSION:
    return None
  shards = tuple(
    Shard(
      shard["split"],
      tuple(
        corpus.File(pathlib.Path(path), name, group, size, shard["split"])
        for path, name, group, size in shard["files"]
      ),
    )
    for shard in value["shards"]
  )
  return Plan(value["settings"], shards)


def difference(before: Plan, now: Plan) -> str:
  """Says what makes two plans different, or ''.

  Where the files lie does not matter, only how they are called below --input,
  their groups, splits and sizes.
  """
  names = sorted({*before.settings, *now.settings})
  changed = [n for n in names if before.settings.get(n) != now.settings.get(n)]
  if changed:
    was, new = (
      " ".join(f"--{n}={p.settings.get(n, '')}" for n in changed)
      for p in (before, now)
    )
    return f"it was begun with {was}, and this command has {new}"
  old, current = _files(before), _files(now)
  if old == current:
    return ""
  names = sorted(
    n for n in {*old, *current} if old.get(n) != current.get(n)
  ) or ["their order"]
  return (
    f"{len(names)} input file(s) differ from when it was "
    f"begun (the first is {names[0]!r})"
  )


def _files(plan: Plan) -> dict[str, tuple]:
  return {
    file.name: (number, file.group, file.size_bytes)
    for number, shard in enumerate(plan.shards)
    for file in shard.files
  }


def _order(file: corpus.File) -> tuple[str, str]:
  return file.group, file.name


def _cut(
  files: list[corpus.File], limit: int
) -> Iterator[tuple[corpus.File, ...]]:
  shard, size = [], 0
  for unit in _units(files, limit):
    unit_bytes = sum(file.size_bytes for file in unit)
    if shard and size + unit_bytes > limit:
      yield tuple(shard)
      shard, size = [], 0
    shard += unit
    size += unit_bytes
  if shard:
    yield tuple(shard)


def _units(files: list[corpus.File], limit: int) -> Iterator[list[corpus.File]]:
  """Yields what must stay together: a group, or each file of a large one."""
  for _, members in itertools.groupby(files, lambda file: file.group):
    group = list(members)
    if sum(file.size_bytes for file in group) <= limit:
      yield group
    else:
      yield from ([file] for file in group)


def _nothing_to_train_on(splits: Mapping, settings: Mapping[str, Any]) -> str:
  groups = {file.group for members in splits.values() for file in members}
  found = f"{len(groups)} group{'s' * (len(groups) != 1)}"
  if "group_by" in settings:
    return (
      f"--group_by makes {found}, and none falls into the training split. Use "
      "--group_by=file or --group_by=depth:N with a larger N for more groups."
    )
  return (
    f"--input holds {found} of {settings['dataset']}, and none falls into the "
    "training split. Add the parts to train on; --describe lists them."
  )
