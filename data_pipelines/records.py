"""Pieces of audio -> a TFDS dataset of ten-second int16 records on disk.

A pipeline hands over, split by split, a stream of `Piece`s: one group's audio
in pieces that follow each other. `write` joins them, cuts records, and leaves
a folder that `tfds.builder_from_directory` opens. Format version 1.0.0:

  audio   int16 [N], N = 10 s, or 1 s to 10 s at the end of a group
  group   text, what must not be spread over splits (a speaker, an album)
  source  text, the file in which the record starts
  metadata.json   sample_rate_hz, format_version, and how it was prepared

TensorFlow is not needed and not loaded.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from soundstream_jax import errors

FORMAT_VERSION = "1.0.0"
SPLITS = ("train", "validation", "test")
RECORD_SECONDS = 10
SHORTEST_SECONDS = 1

_FADE_SECONDS = 0.005
_INFO_FILE = "dataset_info.json"
_RECORDS_PER_SHARD = 512  # about 240 MB at 24 kHz
_RECORDS_PER_WRITE = 32


@dataclasses.dataclass(frozen=True)
class Piece:
  """Audio of one group; pieces of a group come one after the other."""

  group: str
  source: str
  audio: np.ndarray  # int16 [N]


@dataclasses.dataclass
class Tally:
  """What one split came to, counted while it is written."""

  records: int = 0
  samples: int = 0
  groups: set[str] = dataclasses.field(default_factory=set)
  dropped: int = 0  # ends of groups that were shorter than a second
  dropped_samples: int = 0


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


def check_out(out: str) -> pathlib.Path:
  """Returns the folder to be made.

  Raises:
    InputError: no name, or something is there already.
  """
  if not out:
    raise errors.InputError("--out is missing: the folder to be made.")
  folder = pathlib.Path(out).absolute()
  if (folder / _INFO_FILE).exists():
    raise errors.InputError(
      f"--out={out} already holds a dataset. Use another folder, or remove "
      "this one first."
    )
  if folder.is_dir() and any(folder.iterdir()):
    raise errors.InputError(
      f"--out={out} holds other files. Use a folder that is new or empty."
    )
  if folder.exists() and not folder.is_dir():
    raise errors.InputError(
      f"--out={out} is a file. Use a folder that is new or empty."
    )
  return folder


def write(
  out: pathlib.Path,
  *,
  pieces: Mapping[str, Callable[[], Iterator[Piece]]],
  sample_rate_hz: int,
  details: Mapping[str, Any],
) -> dict[str, Tally]:
  """Writes the dataset; `out` appears when it is complete, or not at all.

  Records are written as they come, so memory does not grow with a split.

  Args:
    out: as `check_out` returned it.
    pieces: split name -> function that starts the split's stream.
    details: what else the metadata should say, as JSON values.

  Raises:
    InputError: there is nothing to train on, or the disk cannot be written to.
  """
  tallies = {split: Tally() for split in pieces}
  with contextlib.ExitStack() as stack:
    with _writing(out):
      out.parent.mkdir(parents=True, exist_ok=True)
      partial = stack.enter_context(
        tempfile.TemporaryDirectory(
          prefix=f".{out.name}.", suffix=".partial", dir=out.parent
        )
      )
      folder = pathlib.Path(partial, out.name)
      folder.mkdir()
      info = _info(folder, sample_rate_hz=sample_rate_hz, details=details)
      # Not through a GeneratorBasedBuilder: beyond 1000 MiB in a split (six
      # hours), TFDS 4.9 sorts through files that only TensorFlow can make.
      writer = tfds.core.SequentialWriter(
        info,
        max_examples_per_shard=_RECORDS_PER_SHARD,
        file_format="array_record",
      )
    for split, tally in tallies.items():
      stream = stack.enter_context(contextlib.closing(pieces[split]()))
      records = cut(stream, sample_rate_hz=sample_rate_hz, tally=tally)
      for number, batch in enumerate(_batches(records)):
        with _writing(out):
          if not number:  # so that a split without records stays unknown
            writer.initialize_splits([split])
          # Not dataclasses.asdict, which copies the audio.
          writer.add_examples({split: [vars(record) for record in batch]})
      if split == "train" and not tally.records:
        raise errors.InputError(
          f"no audio for training lasts {SHORTEST_SECONDS} s or more, the "
          "shortest record. Use more audio, or larger groups (--group_by)."
        )
    info.metadata["splits"] = {
      split: {
        "records": tally.records,
        "samples": tally.samples,
        "groups": len(tally.groups),
      }
      for split, tally in tallies.items()
    }
    with _writing(out):
      writer.close_all()
      os.replace(folder, out)
  return tallies


@contextlib.contextmanager
def _writing(out: pathlib.Path) -> Iterator[None]:
  """Turns a full disk or a forbidden folder into an InputError."""
  try:
    yield
  except (OSError, RuntimeError) as error:  # array_record raises the latter
    reason = getattr(error, "strerror", None) or str(error).split(";")[0]
    raise errors.InputError(
      f"--out={out}: cannot be written ({reason}). Use a folder that may be "
      "written to and has space."
    ) from None


def _batches(records: Iterator[Piece]) -> Iterator[list[Piece]]:
  return iter(lambda: list(itertools.islice(records, _RECORDS_PER_WRITE)), [])


def _info(
  folder: pathlib.Path, *, sample_rate_hz: int, details: Mapping[str, Any]
) -> tfds.core.DatasetInfo:
  """Describes the dataset that is about to be written to the folder."""
  return tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name="audio_records",
      version=tfds.core.Version(FORMAT_VERSION),
      data_dir=str(folder),
      module_name=__name__,
    ),
    description="Mono audio for soundstream_jax, cut into records.",
    features=tfds.features.FeaturesDict(
      {
        # Without 'bytes' TFDS stores int64 varints: eight times slower.
        "audio": tfds.features.Tensor(
          shape=(None,), dtype=np.int16, encoding="bytes"
        ),
        "group": tfds.features.Text(),
        "source": tfds.features.Text(),
      }
    ),
    metadata=tfds.core.MetadataDict(
      sample_rate_hz=sample_rate_hz, format_version=FORMAT_VERSION, **details
    ),
    disable_shuffling=True,  # training shuffles as it reads
  )


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
