"""Reads files of any length into codes, piece by piece.

A file is read twice. The first time says how long it is and how much of it is
there, which whoever writes sound must know before its first byte; the second
time gives the codes. In memory is a group of chunks.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from soundstream_jax.codec.sstr import reader, scan, version1
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

# Frames that are lost are given so many at a time.
_LOST_FRAMES = 4_096

Piece = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Survey:
  """What a file holds, but for its codes."""

  header: reader.Header
  frames: int
  source_samples: int  # per channel; of a stream without an end: estimated
  damages: tuple[scan.Damage, ...]

  @property
  def model_samples(self) -> int:
    return self.header.model_samples_of(self.source_samples)


def survey(file: BinaryIO) -> Survey:
  """Reads a file to its end; damage is listed.

  Args:
    file: at its first byte.

  Raises:
    InputError: as `reader.from_file` of what is damaged.
  """
  header, _ = reader.read_header(file)
  if header.version == version1.VERSION:
    version1.check_payload(file, header)
    return Survey(header, header.frames, header.source_samples, ())
  damages, presence = [], reader.Presence(header)
  for event in scan.events(file, header):
    if isinstance(event, scan.Damage):
      damages.append(event)
    else:
      presence.add(event)
  frames, samples = presence.extent(damages)
  return Survey(header, frames, samples, tuple(damages))


def codes(
  file: BinaryIO,
  surveyed: Survey,
  *,
  report: Callable[[scan.Damage], None],
  tables: tables_lib.Tables | None = None,
) -> Iterator[Piece]:
  """Yields all frames of a file in order: codes [C, F, n_q], layers [C, F].

  Codes are int32, 0 where they are not whole; layers say how many of a frame's
  first are, 0 where it is lost.

  Args:
    file: at its first byte again.
    surveyed: of it.
    report: called with damage that the survey could not see.
    tables: of the entropy coder, where the header names some.

  Raises:
    InputError: other tables.
  """
  header, _ = reader.read_header(file)
  if header.version == version1.VERSION:
    for piece in version1.codes(file, header):
      yield piece[None], np.full((1, len(piece)), header.num_quantizers)
    return
  reader.check_tables(header, tables)
  position = 0
  events = scan.events(file, header)
  found = (event for event in events if isinstance(event, scan.Chunk))
  for chunk, given, good in reader.decoded(found, header, tables):
    yield from _lost(header, position, chunk.head.first_frame)
    position = chunk.head.stop_frame
    filled = _nothing(header, chunk.head.frames)
    filled[..., : given.shape[-1]] = given
    for damage in reader.worse(header, chunk, good):
      report(damage)
    yield filled, np.repeat(good[:, None], chunk.head.frames, axis=1)
  yield from _lost(header, position, surveyed.frames)


def _lost(header: reader.Header, start: int, stop: int) -> Iterator[Piece]:
  while start < stop:
    frames = min(stop - start, _LOST_FRAMES)
    yield (
      _nothing(header, frames),
      np.zeros((header.channels, frames), np.int64),
    )
    start += frames


def _nothing(header: reader.Header, frames: int) -> np.ndarray:
  return np.zeros((header.channels, frames, header.num_quantizers), np.int32)
