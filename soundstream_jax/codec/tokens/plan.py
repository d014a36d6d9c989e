"""Decides which items become which shard: the same for the same input.

Every process that works on a folder makes the plan by itself. The first one
leaves it there, and the others must have come to the same.

unfinished/plan.json, version 1:
  version   1
  settings  what shapes the codes
  listing   what makes the input another: of a folder {files: [[name, bytes],
            ...]}, of a dataset {records: {split: count}, digest}
  shards    [[split, first item, count], ...]
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from soundstream_jax import console, errors, paths, whole_files
from soundstream_jax.codec.tokens import inputs

# A shard is 1/128 of the input so that every thread gets a share, and what a
# kill costs is little; but not so small that there are files without end, nor
# so large that one takes long. Beyond 640 GB they grow.
SMALLEST_SHARD_BYTES = 2 << 20
LARGEST_SHARD_BYTES = 64 << 20
SHARDS = 128
MOST_SHARDS = 10_000

FOLDER = "unfinished"
# The folder is finished when it is there; see `index`.
META = "meta.json"
_FILE = "plan.json"
_VERSION = 1
_SHOWN = 12  # characters of a model's fingerprint


@dataclasses.dataclass(frozen=True)
class Shard:
  """Items of one split, one after the other; of a folder, its split is ''."""

  split: str
  first: int
  count: int

  @property
  def numbers(self) -> range:
    return range(self.first, self.first + self.count)


@dataclasses.dataclass(frozen=True)
class Plan:
  """Shards in the order of their items, and all that shapes them."""

  settings: Mapping[str, Any]
  listing: Mapping[str, Any]
  shards: tuple[Shard, ...]

  @property
  def num_items(self) -> int:
    return sum(shard.count for shard in self.shards)

  @property
  def digest(self) -> str:
    """Names the input."""
    return hashlib.sha256(json.dumps(self.listing).encode()).hexdigest()


def make(data: inputs.Input, settings: Mapping[str, Any]) -> Plan:
  """Cuts the input into shards."""
  sizes = data.sizes()
  total = sum(map(sum, sizes.values()))
  limit = min(max(SMALLEST_SHARD_BYTES, total // SHARDS), LARGEST_SHARD_BYTES)
  limit = max(limit, total // MOST_SHARDS)
  shards = [
    Shard(split, first, count)
    for split, each in sizes.items()
    for first, count in _cut(each, limit)
  ]
  return Plan(dict(settings), data.listing(), tuple(shards))


def _cut(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
  """Yields (first, count) of items that are up to `limit` bytes together."""
  first, size = 0, 0
  for number, more in enumerate(sizes):
    if number > first and size + more > limit:
      yield first, number - first
      first, size = number, 0
    size += more
  if sizes:
    yield first, len(sizes) - first


def begin(out: pathlib.Path, plan: Plan) -> None:
  """Leaves the plan in the folder, or finds there that it is the same.

  Raises:
    InputError: the folder was begun with another, or holds other files.
    DiskError: the disk cannot be written to.
  """
  path = out / FOLDER / _FILE
  with errors.writing("tokens", out):
    begun = path.exists()
    if not begun:
      _check_empty(out)
      path.parent.mkdir(parents=True, exist_ok=True)
  if not begun:
    value = {"version": _VERSION, **dataclasses.asdict(plan)}
    value["shards"] = [dataclasses.astuple(shard) for shard in plan.shards]
    _write_once(path, json.dumps(value))
  before = _load(path)
  if before is not None and (reason := _difference(before, plan)):
    raise errors.InputError(
      f"--out={console.shown(out)} {reason}. Use the same again, or another "
      "--out."
    )


def check_out(out: pathlib.Path) -> None:
  """Refuses a folder that cannot be written to, or holds other files.

  Raises:
    InputError: with the reason.
    DiskError: the disk is read-only.
  """
  paths.check_writable_folder(f"--out={out}", out)
  with errors.writing("tokens", out):
    _check_empty(out)


def difference(
  before: Mapping[str, Any], now: Mapping[str, Any], same_input: bool
) -> str:
  """Says what makes two plans different, or ''.

  Args:
    before, now: their settings.
    same_input: whether their listings are equal.
  """
  names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
  if names:
    was, new = (
      " ".join(f"--{n}={_shown(n, settings)}" for n in names)
      for settings in (before, now)
    )
    return f"was begun with {was}, and this command has {new}"
  return "" if same_input else "was begun with another --data"


def _difference(before: Plan, now: Plan) -> str:
  same = before.listing == now.listing
  reason = difference(before.settings, now.settings, same)
  files = [p.listing.get("files") for p in (before, now)]
  if reason and not same and None not in files:
    old, new = ({tuple(file) for file in listed} for listed in files)
    changed = sorted(old ^ new)
    if changed:
      name = console.shown(changed[0][0])
      reason += f" (files differ; the first is {name!r})"
  return reason


def _shown(name: str, settings: Mapping[str, Any]) -> str:
  value = str(settings.get(name, ""))
  return value[:_SHOWN] if name == "model" else value


def _check_empty(out: pathlib.Path) -> None:
  """Refuses to work among files that are not ours.

  Raises:
    InputError: there are some.
  """
  with contextlib.suppress(FileNotFoundError):
    others = [entry.name for entry in os.scandir(out) if entry.name != FOLDER]
    # Another process may have begun, or even finished, meanwhile.
    ours = [out / META, out / FOLDER / _FILE]
    if others and not any(path.exists() for path in ours):
      raise errors.InputError(
        f"--out={console.shown(out)} holds other files ({console.shown(others[0])})"
        ". Name a folder that is new or empty."
      )


def _write_once(path: pathlib.Path, text: str) -> None:
  """Writes a file that nobody has written; of two at once, one does."""
  own = whole_files.unfinished(path)
  try:
    whole_files.write(own, text)
    with errors.writing(path.name, path.parent):
      try:
        os.link(own, path)
      except FileExistsError:
        pass
      except OSError:  # a file system without links
        if not path.exists():
          os.replace(own, path)
  finally:
    with contextlib.suppress(OSError):
      own.unlink()


def _load(path: pathlib.Path) -> Plan | None:
  """Returns the plan of a folder; None: it has been finished meanwhile.

  Raises:
    InputError: another version made it.
  """
  try:
    value = json.loads(path.read_bytes())
    if value["version"] == _VERSION:
      shards = tuple(Shard(*shard) for shard in value["shards"])
      return Plan(value["settings"], value["listing"], shards)
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, TypeError):
    pass
  raise errors.InputError(
    f"{console.shown(path)}: this plan is damaged, or of another version of "
    "soundstream_jax. Use that version, or another --out."
  )
