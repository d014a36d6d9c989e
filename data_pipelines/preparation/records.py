"""Cuts audio into records: int16 mono of ten seconds, group by group.

A preparation hands over, split by split, an iterator of `Piece`s: one group's
audio in pieces that follow each other. `cut` joins them and cuts records; `whole`
leaves them as they are, which is what impulse responses need. On disk they are
a TFDS dataset (dataset_files.py, assemble.py) of format version 1.1.0:

  audio   int16 [N], N = 10 s, or 1 s to 10 s at the end of a group; an impulse
          response (kind 'rooms') is one record of any length up to 10 s
  group   text, what must not be spread over splits (a speaker, an album)
  source  text, the file in which the record starts
  metadata.json   sample_rate_hz, format_version, splits (records, samples,
          groups of each), dataset, kind, licence, citation, version, and how
          it was prepared
  bandwidth_hz-SPLIT.npy   float32 [records], see measure.bandwidth_hz
  datasheet.json, datasheet.png   see datasheet.py

1.0.0 had no bandwidth_hz, no datasheet, and said less in metadata.json.
"""

import dataclasses
import hashlib
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from soundstream_jax import errors
from soundstream_jax.data_pipelines.preparation import dataset_files

FORMAT_VERSION = "1.1.0"
SPLITS = ("train", "validation", "test")
RECORD_SECONDS = 10
SHORTEST_SECONDS = 1

_FADE_SECONDS = 0.005


@dataclasses.dataclass(frozen=True)
class Piece:
  """Audio of one group; pieces of a group come one after the other."""

  group: str
  source: str
  audio: np.ndarray  # int16 [N]
  damage: str = ""  # of the source, which is used as far as it goes


@dataclasses.dataclass
class Tally:
  """Counts of a split, or of one of its shards."""

  records: int = 0
  samples: int = 0
  groups: set[str] = dataclasses.field(default_factory=set)
  dropped: int = 0  # ends of groups that were shorter than a second
  dropped_samples: int = 0

  def add(self, other: "Tally") -> None:
    self.records += other.records
    self.samples += other.samples
    self.groups |= other.groups
    self.dropped += other.dropped
    self.dropped_samples += other.dropped_samples


def cut(
  pieces: Iterable[Piece], *, sample_rate_hz: int, tally: Tally
) -> Iterator[Piece]:
  """Joins the pieces of each group and yields them as records.

  A new file fades in over 5 ms, and the end of the file before it fades out,
  where both are in one record: an abrupt join would be a click to be coded. The
  rest of a group is a record too if it lasts a second, and else is dropped.

  Args:
    pieces: all pieces of a group in a row.
    tally: is added to.
  """
  record_samples = RECORD_SECONDS * sample_rate_hz
  shortest = SHORTEST_SECONDS * sample_rate_hz
  fade = np.linspace(0, 1, round(_FADE_SECONDS * sample_rate_hz), False)
  for group, members in itertools.groupby(pieces, lambda piece: piece.group):
    start, waiting = "", np.zeros(0, np.int16)
    for piece in members:
      if len(waiting):
        audio = np.concatenate(
          [_faded(waiting[::-1], fade)[::-1], _faded(piece.audio, fade)]
        )
      else:
        start, audio = piece.source, piece.audio
      whole = len(audio) // record_samples * record_samples
      for at in range(0, whole, record_samples):
        record = Piece(group, start, audio[at : at + record_samples])
        _count(tally, record)
        yield record
        start = piece.source
      waiting = audio[whole:]
    if len(waiting) >= shortest:
      record = Piece(group, start, waiting)
      _count(tally, record)
      yield record
    elif len(waiting):
      tally.dropped += 1
      tally.dropped_samples += len(waiting)


def whole(pieces: Iterable[Piece], *, tally: Tally) -> Iterator[Piece]:
  """Yields every piece as a record of its own, of any length."""
  for piece in pieces:
    _count(tally, piece)
    yield piece


def split_of(group: str, percentages: tuple[int, int, int]) -> str:
  """Returns the split of a group: a fixed function of its name alone.

  So a folder that grows keeps every group where it was.
  """
  digest = hashlib.sha256(group.encode()).digest()
  place = int.from_bytes(digest[:8], "big") * 100 >> 64  # 0 .. 99
  for split, edge in zip(
    SPLITS, itertools.accumulate(percentages), strict=True
  ):
    if place < edge:
      return split
  raise ValueError(f"percentages={percentages} do not add up to 100")


def parse_split(text: str) -> tuple[int, int, int]:
  """Reads '90,5,5', the percentages of train, validation and test.

  Raises:
    InputError: not three whole numbers that add up to 100, or nothing for
      training.
  """
  try:
    percentages = tuple(int(part) for part in text.split(","))
  except ValueError:
    percentages = ()
  if len(percentages) != 3 or min(percentages) < 0 or sum(percentages) != 100:
    raise errors.InputError(
      f"--split={text} must be three percentages that add up to 100, for "
      "train, validation and test. For example --split=90,5,5."
    )
  if not percentages[0]:
    raise errors.InputError(
      f"--split={text} leaves nothing to train on. For example --split=90,5,5."
    )
  return percentages


def write(
  out: pathlib.Path,
  *,
  pieces: Mapping[str, Callable[[], Iterator[Piece]]],
  sample_rate_hz: int,
  details: Mapping[str, Any],
) -> dict[str, Tally]:
  """Writes pieces as a dataset of one shard a split, without a datasheet.

  For audio that is made as it is written, such as a test's; `prepare` makes
  shards, and can be resumed. `out` appears when it is complete, or not at
  all. Memory does not grow with a split.

  Args:
    out: a folder that is new or empty.
    pieces: split name -> function that starts the split's iterator.
    details: what else the metadata should say, as JSON values.

  Raises:
    DiskError: the disk cannot be written to.
  """
  tallies = {split: Tally() for split in pieces}
  encoded = {}
  with dataset_files.writing(out):
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
      prefix=f".{out.name}.", suffix=".partial", dir=out.parent
    ) as partial:
      folder = pathlib.Path(partial, out.name)
      folder.mkdir()
      for split, tally in tallies.items():
        path = folder / dataset_files.shard_name(split, 0, 1)
        shard = dataset_files.Shard(path)
        members = pieces[split]()
        for record in cut(members, sample_rate_hz=sample_rate_hz, tally=tally):
          shard.add(record.audio, record.group, record.source)
        shard.close()
        encoded[split] = shard.encoded_bytes
        if not tally.records:
          path.unlink()
      dataset_files.describe(
        folder,
        shard_lengths={s: [t.records][: t.records] for s, t in tallies.items()},
        encoded_bytes=encoded,
        format_version=FORMAT_VERSION,
        metadata={
          "sample_rate_hz": sample_rate_hz,
          "format_version": FORMAT_VERSION,
          **details,
          "splits": describe_splits(tallies),
        },
      )
      folder.replace(out)
  return tallies


def describe_splits(tallies: Mapping[str, Tally]) -> dict[str, dict[str, int]]:
  """Returns what metadata.json says of the splits."""
  return {
    split: {
      "records": tally.records,
      "samples": tally.samples,
      "groups": len(tally.groups),
    }
    for split, tally in tallies.items()
  }


def _faded(audio: np.ndarray, fade: np.ndarray) -> np.ndarray:
  """Returns int16 [N] that starts from silence."""
  length = min(len(fade), len(audio))
  faded = audio.copy()
  faded[:length] = np.rint(audio[:length] * fade[:length])
  return faded


def _count(tally: Tally, record: Piece) -> None:
  tally.records += 1
  tally.samples += len(record.audio)
  tally.groups.add(record.group)
