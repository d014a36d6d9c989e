"""Reads files into codes: every version, whole or damaged.

A file that is read strictly is whole or refused. Otherwise damage is listed,
and `layers` says what may be used of each frame and channel.
"""

import dataclasses
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import coding, files, scan, version1
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

Header = header_lib.Header | version1.Header

# Frames that are missing need no bytes, so a few bytes with a right checksum
# could claim years of them: at least one frame of so many must be there.
MAX_LOSS = 16
# Codes may take this, and so many times the file: a chunk of few layers gets
# the width of all. The longest recordings take a hundredth of it.
_FREE_BYTES = 1 << 26
_BYTES_PER_BYTE = 256
_GROUP_CHUNKS = 64


@dataclasses.dataclass(frozen=True)
class Recording:
  """The codes of a file, and the damage in it."""

  header: Header
  codes: np.ndarray  # [C, F, n_q] int32; 0 where they are not whole
  layers: np.ndarray  # [C, F] int64: first layers that are whole, 0: lost
  source_samples: int  # per channel; of a stream without an end: estimated
  damages: tuple[scan.Damage, ...]

  @property
  def model_samples(self) -> int:
    return self.header.model_samples_of(self.source_samples)


def from_bytes(
  data: bytes,
  *,
  strict: bool = True,
  tables: tables_lib.Tables | None = None,
) -> Recording:
  """Reads a file from memory; see `from_file`."""
  return from_file(io.BytesIO(data), strict=strict, tables=tables)


def read(
  path: str | os.PathLike,
  *,
  strict: bool = True,
  tables: tables_lib.Tables | None = None,
) -> Recording:
  """Reads a file by name; see `from_file`.

  Raises:
    InputError: as `from_file`, or no such file; with its name.
  """
  with files.opened(path) as file:
    return from_file(file, strict=strict, tables=tables)


def from_file(
  file: BinaryIO,
  *,
  strict: bool = True,
  tables: tables_lib.Tables | None = None,
) -> Recording:
  """Reads a file or a pipe to its end.

  Args:
    file: at its first byte.
    strict: refuses what is damaged.
    tables: of the entropy coder, where `header.tables` names some.

  Raises:
    InputError: one line that says what is wrong with the bytes. Where damage is
      taken, this is: no or a damaged header, a damaged version 1, fewer than
      one frame of `MAX_LOSS`, no whole chunk, other tables.
  """
  header, rest = read_header(file)
  if header.version == version1.VERSION:
    header, codes = version1.from_bytes(rest + file.read())
    layers = np.full((1, len(codes)), header.num_quantizers, np.int64)
    return Recording(header, codes[None], layers, header.source_samples, ())
  check_tables(header, tables)
  found, damages, presence = [], [], Presence(header)
  for event in scan.events(file, header):
    if isinstance(event, scan.Damage):
      if strict:
        raise errors.InputError(f"{event}.")
      damages.append(event)
    else:
      presence.add(event)
    if isinstance(event, scan.Chunk):
      found.append(event)
  frames, samples = presence.extent(damages)
  codes, layers, more = _codes(header, found, frames, tables)
  if more and strict:
    raise errors.InputError(f"{more[0]}.")
  damages = sorted([*damages, *more], key=lambda damage: damage.seconds)
  return Recording(header, codes, layers, samples, tuple(damages))


def read_header(file: BinaryIO) -> tuple[Header, bytes]:
  """Returns the header of any version, and its bytes.

  Raises:
    InputError: not this format, a version that is not known, or a header that
      is damaged.
  """
  start = file.read(header_lib.START_BYTES)
  version = header_lib.version_of(start)
  sizes = {
    version1.VERSION: version1.HEADER_BYTES,
    header_lib.VERSION: header_lib.HEADER_BYTES,
  }
  if version not in sizes:
    raise errors.InputError(
      f"version {version} of the .sstr format is unknown; known: "
      f"{', '.join(map(str, sizes))}. A newer soundstream_jax may read it."
    )
  data = start + file.read(sizes[version] - len(start))
  if version == version1.VERSION:
    return version1.Header.from_bytes(data), data
  return header_lib.Header.from_bytes(data), data


def check_tables(
  header: header_lib.Header, tables: tables_lib.Tables | None
) -> None:
  """Refuses other tables than a header names.

  Raises:
    InputError: with both.
  """
  if any(header.tables) and (
    tables is None or tables.identity != header.tables
  ):
    found = "none" if tables is None else f"those of {tables.identity.hex()}"
    raise errors.InputError(
      f"the codes are entropy coded with the tables {header.tables.hex()}, and "
      f"{found} were given."
    )


class Presence:
  """Counts what is there of a file: its length, and whether it is justified."""

  def __init__(self, header: header_lib.Header):
    self._header = header
    self._frames = self._bytes = self._stop_frame = 0
    self._end: scan.End | None = None

  def add(self, event: scan.Chunk | scan.End) -> None:
    """Counts what `scan.events` found next."""
    if isinstance(event, scan.End):
      self._end = event
    else:
      self._frames += event.head.frames
      self._bytes += sum(map(len, event.entries))
      self._stop_frame = event.head.stop_frame

  def extent(self, damages: Sequence[scan.Damage]) -> tuple[int, int]:
    """Returns frames and source samples of a file that was read to its end.

    Args:
      damages: that were found.

    Raises:
      InputError: no chunk is whole, or too much is missing: the bytes read do
        not account for the memory that the codes would take.
    """
    header, end = self._header, self._end
    if header.frames is not None:
      frames, samples = header.frames, header.source_samples
    elif end is not None:
      frames, samples = end.frames, end.source_samples
    elif not self._frames:
      raise errors.InputError(f"no chunk is whole: {damages[0]}.")
    else:
      frames = self._stop_frame
      samples = frames * header.hop_samples
      samples = samples * header.source_rate_hz // header.model_rate_hz
    if frames > MAX_LOSS * self._frames:
      raise errors.InputError(
        f"only {self._frames} of {frames} frames are there, fewer than one of "
        f"{MAX_LOSS}: too little to be heard. Copy the file again from where "
        "it was made."
      )
    size = frames * header.channels * header.num_quantizers * 4
    if size > _FREE_BYTES + _BYTES_PER_BYTE * self._bytes:
      raise errors.InputError(
        f"{frames} frames of {header.num_quantizers} layers would take {size} "
        f"bytes, and the file has {self._bytes} bytes of codes."
      )
    return frames, samples


def decoded(
  found: Iterable[scan.Chunk],
  header: header_lib.Header,
  tables: tables_lib.Tables | None,
) -> Iterator[tuple[scan.Chunk, np.ndarray, np.ndarray]]:
  """Yields chunks with their codes [C, N, q] and whole layers [C].

  Chunks of one shape that follow each other are decoded together, not too many
  at a time.
  """

  def shape(chunk: scan.Chunk) -> tuple[int, int, int]:
    return chunk.head.kind, chunk.head.frames, len(chunk.entries)

  for _, same in itertools.groupby(found, shape):
    while group := list(itertools.islice(same, _GROUP_CHUNKS)):
      codes, layers = coding.decode(group, header, tables=tables)
      yield from zip(group, codes, layers, strict=True)


def worse(
  header: header_lib.Header, chunk: scan.Chunk, layers: np.ndarray
) -> Iterator[scan.Damage]:
  """Yields the damage that only the entropy coder could see.

  Args:
    header: of the file.
    chunk: as it was found.
    layers: [C] that are whole by its decoder.
  """
  good = tuple(layers.tolist())
  if good != chunk.layers:
    yield from scan.complaints(
      header, dataclasses.replace(chunk, layers=good), max(chunk.layers)
    )


def _codes(
  header: header_lib.Header,
  found: list[scan.Chunk],
  frames: int,
  tables: tables_lib.Tables | None,
) -> tuple[np.ndarray, np.ndarray, list[scan.Damage]]:
  """Returns codes [C, F, n_q], layers [C, F], and damage found on the way."""
  codes = np.zeros((header.channels, frames, header.num_quantizers), np.int32)
  layers = np.zeros((header.channels, frames), np.int64)
  damages = []
  for chunk, decoded_codes, good in decoded(found, header, tables):
    place = slice(chunk.head.first_frame, chunk.head.stop_frame)
    codes[:, place, : decoded_codes.shape[-1]] = decoded_codes
    layers[:, place] = good[:, None]
    damages += worse(header, chunk, good)
  return codes, layers, damages
