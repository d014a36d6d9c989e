"""Describes a dataset: where it is from, its licence, and how its files lie.

Each module of data_pipelines/corpora/ describes one dataset as a `Corpus`;
`prepare` does the rest, the same for all of them.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

KINDS = ("speech", "music", "noise", "rooms")


@dataclasses.dataclass(frozen=True)
class File:
  """One file of audio.

  Attributes:
    path: where it is.
    name: path below the input folder, with "/".
    group: what must not be spread over splits: a speaker, an album, a room.
    size_bytes: of the file.
    split: 'train', 'validation' or 'test' as the dataset's authors, or our
      rule for it, say; '' where the group's name decides (`records.split_of`).
  """

  path: pathlib.Path
  name: str
  group: str
  size_bytes: int
  split: str = ""


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file as the dataset's site ships it."""

  name: str
  md5: str = ""  # as the site publishes it; '' where it publishes none


@dataclasses.dataclass(frozen=True)
class Corpus:
  """One dataset.

  Attributes:
    name: what --dataset= takes.
    title: its full name.
    kind: one of KINDS. Files of 'rooms' are impulse responses: each is a record
      of its own, whole, of its first channel, scaled to a peak of 0.9.
    homepage: where people get it.
    licence: of the audio, and what it asks of those who use it.
    version: of what is described here.
    citation: one line.
    sample_rate_hz: of the files as shipped; 0 where they differ.
    hours: of audio, about.
    splits: one sentence on what is in which split, and why that is disjoint.
    archives: what the site ships.
    expected: part (a subfolder or a split, as the site names it) -> number of
      audio files; `prepare` warns of a part that is there and incomplete.
    find: input folder, unpacked -> its files in the order of their names.
      Raises InputError for a folder that is not this dataset, naming what was
      looked for.
    part_of: file name -> key of `expected`.
    compute: of a dataset that is computed and has no input folder: (percentages
      of the splits, sample rate in Hz) -> its groups, as if each were a file.
    read: file, sample_rate_hz=, sound= -> its audio, a `records.Piece`, with
      its statistics added to `sound`; None: the file is decoded.
    more_groups: advice for a split that no group fell into.
  """

  name: str
  title: str
  kind: str
  homepage: str
  licence: str
  version: str
  citation: str
  sample_rate_hz: int
  hours: float
  splits: str
  find: Callable[[pathlib.Path], list[File]]
  archives: tuple[Archive, ...] = ()
  expected: dict[str, int] = dataclasses.field(default_factory=dict)
  part_of: Callable[[str], str] = lambda name: name.split("/")[0]
  compute: Callable[[tuple[int, int, int], int], list[File]] | None = None
  read: Callable[..., Any] | None = None
  more_groups: str = "Add parts of the dataset that are for them."


# Advice for datasets whose groups the flags decide.
MORE_GROUPS_BY_FLAGS = "For more groups use --group_by=file or --group_by=depth:N, or change --split."
