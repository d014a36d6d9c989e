"""Builds a shard: some files of a plan -> an array_record file and a sidecar.

A shard is built by one process from the plan and its number alone, so it may
be built by any, on any machine that shares the folder, in any order. In the
working folder shards/ it is complete when its sidecar is there:

  shards/NNNNN.array_record   the records; not there if there are none
  shards/NNNNN.json           what it came to: `Result`, as JSON
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from soundstream_jax import whole_files
from soundstream_jax.data_pipelines import catalog
from soundstream_jax.data_pipelines.audio import decode, measure
from soundstream_jax.data_pipelines.preparation import (
  dataset_files,
  disk,
  records,
)
from soundstream_jax.data_pipelines.preparation import plan as plan_lib

FOLDER = "shards"
FINISHING = "dataset"  # where complete shards get their names


@dataclasses.dataclass
class Result:
  """The result of building a shard.

  Attributes:
    size_bytes: of its file; 0 if it has no records, and so no file.
    encoded_bytes: of its records.
    sound: statistics; lists are in the order of the records.
    damaged: files that were used as far as they go.
  """

  split: str
  tally: records.Tally
  sound: measure.Sound
  skipped: list[decode.Skipped]
  size_bytes: int = 0
  encoded_bytes: int = 0
  damaged: list[decode.Damaged] = dataclasses.field(default_factory=list)


def build(
  folder: pathlib.Path,
  plan: plan_lib.Plan,
  number: int,
  *,
  told: Callable[[int, float], None] = lambda size_bytes, seconds: None,
) -> Result:
  """Builds shard `number` in the working folder.

  Args:
    told: called before each file, with the bytes of the file before it and the
      seconds of audio that it gave. May raise, to end the work.

  Raises:
    InputError: a file of the plan is gone or has changed.
    OSError, RuntimeError: the disk cannot be written to.
  """
  shard = plan.shards[number]
  rate_hz = plan.settings["sample_rate"]
  result = Result(shard.split, records.Tally(), measure.Sound(), [])
  pieces = _pieces(plan, shard, result, told)
  if plan.settings.get("kind") == "rooms":
    cut = records.whole(pieces, tally=result.tally)
  else:
    cut = records.cut(pieces, sample_rate_hz=rate_hz, tally=result.tally)
  path = shard_path(folder, number)
  path.parent.mkdir(parents=True, exist_ok=True)
  with whole_files.replacing(path) as partial:
    writer = dataset_files.Shard(partial)
    # An iterator that ends in the middle is closed here, not by the collector.
    with contextlib.closing(pieces):
      for record in cut:
        writer.add(record.audio, record.group, record.source)
        result.sound.add_record(record.audio, rate_hz)
    result.encoded_bytes = writer.encoded_bytes
    result.size_bytes = writer.close()
  if not writer.records:
    path.unlink()
    result.size_bytes = 0
  _save(folder, number, result)
  return result


def complete(folder: pathlib.Path, plan: plan_lib.Plan) -> dict[int, Result]:
  """Returns number -> result of the shards that are there, whole."""
  found = {}
  # From then on shards are renamed, and their sidecars stay.
  finishing = (folder / FINISHING).exists()
  for number in range(len(plan.shards)):
    result = _load(folder, number)
    if result is None:
      continue
    path = shard_path(folder, number)
    with contextlib.suppress(FileNotFoundError):
      if (
        finishing
        or not result.size_bytes
        or path.stat().st_size == result.size_bytes
      ):
        found[number] = result
  return found


def shard_path(folder: pathlib.Path, number: int) -> pathlib.Path:
  return folder / FOLDER / f"{number:05d}.array_record"


def _pieces(
  plan: plan_lib.Plan,
  shard: plan_lib.Shard,
  result: Result,
  told: Callable[[int, float], None],
) -> Iterator[records.Piece]:
  """Yields the shard's files, decoded; notes those that are bad or damaged."""
  read = _reader(plan.settings)
  done_bytes, seconds = 0, 0.0
  for file in shard.files:
    told(done_bytes, seconds)
    piece = read(
      file,
      sample_rate_hz=plan.settings["sample_rate"],
      sound=result.sound,
    )
    done_bytes, seconds = file.size_bytes, 0.0
    if isinstance(piece, decode.Skipped):
      result.skipped.append(piece)
    else:
      if piece.damage:
        result.damaged.append(decode.Damaged(file.name, piece.damage))
      seconds = len(piece.audio) / plan.settings["sample_rate"]
      yield piece
  told(done_bytes, seconds)


def _reader(
  settings: Mapping[str, Any],
) -> Callable[..., records.Piece | decode.Skipped]:
  """Returns the function file -> audio of the plan's dataset."""
  described = catalog.load(settings["dataset"], settings["kind"], settings)
  return described.read or functools.partial(decode.decode, kind=described.kind)


def _save(folder: pathlib.Path, number: int, result: Result) -> None:
  value = dataclasses.asdict(result)
  value["tally"]["groups"] = sorted(result.tally.groups)
  path = shard_path(folder, number).with_suffix(".json")
  disk.write(path, json.dumps(value).encode())


def _load(folder: pathlib.Path, number: int) -> Result | None:
  path = shard_path(folder, number).with_suffix(".json")
  try:
    value = json.loads(path.read_bytes())
  except (FileNotFoundError, ValueError):
    return None
  tally = records.Tally(**value["tally"])
  tally.groups = set(tally.groups)
  return Result(
    **{
      **value,
      "tally": tally,
      "sound": measure.Sound(**value["sound"]),
      "skipped": [decode.Skipped(**skipped) for skipped in value["skipped"]],
      # Before 0.4 nobody looked whether a file was damaged.
      "damaged": [decode.Damaged(**file) for file in value.get("damaged", ())],
    }
  )


@functools.cache
def _plan_of(folder: str) -> plan_lib.Plan:
  return plan_lib.load(pathlib.Path(folder))


def build_in(folder: str, number: int) -> int:
  """Builds a shard of the plan that lies in the folder; returns its number."""
  build(pathlib.Path(folder), _plan_of(folder), number)
  return number
