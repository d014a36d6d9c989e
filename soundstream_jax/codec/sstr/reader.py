"""Reads files into codes: every version, whole or damaged.

A file that is read strictly is whole or refused. Otherwise damage is listed,
and `layers` says what may be used of each frame and channel.
"""

import dataclasses
import io
import itertools
import os
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, coding, files, scan, version1
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
_GROUP_CHUNKS = 256


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
  _check_tables(header, tables)
  found, damages, end = [], [], None
  for event in scan.events(file, header):
    match event:
      case scan.Damage():
        if strict:
          raise errors.InputError(f"{event}.")
        damages.append(event)
      case scan.Chunk():
        found.append(event)
      case scan.End():
        end = event
  if header.frames is None and not found and end is None:
    raise errors.InputError(f"no chunk is whole: {damages[0]}.")
  frames, samples = _extent(header, found, end)
  _check_justified(header, found, frames)
  codes, layers = _codes(header, found, frames, tables)
  worse = list(_worse(header, found, layers))
  if worse and strict:
    raise errors.InputError(f"{worse[0]}.")
  damages = sorted([*damages, *worse], key=lambda damage: damage.seconds)
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


def _check_tables(
  header: header_lib.Header, tables: tables_lib.Tables | None
) -> None:
  if any(header.tables) and (
    tables is None or tables.identity != header.tables
  ):
    found = "none" if tables is None else f"those of {tables.identity.hex()}"
    raise errors.InputError(
      f"the codes are entropy coded with the tables {header.tables.hex()}, and "
      f"{found} were given."
    )


def _extent(
  header: header_lib.Header, found: list[scan.Chunk], end: scan.End | None
) -> tuple[int, int]:
  """Returns frames and source samples."""
  if header.frames is not None:
    return header.frames, header.source_samples
  if end is not None:
    return end.frames, end.source_samples
  frames = found[-1].head.stop_frame if found else 0
  samples = frames * header.hop_samples
  return frames, samples * header.source_rate_hz // header.model_rate_hz


def _check_justified(
  header: header_lib.Header, found: list[scan.Chunk], frames: int
) -> None:
  """Refuses to take memory that the bytes read do not account for."""
  present = sum(chunk.head.frames for chunk in found)
  if frames > MAX_LOSS * present:
    raise errors.InputError(
      f"{present} of {frames} frames are there, fewer than one of {MAX_LOSS}."
    )
  size = frames * header.channels * header.num_quantizers * 4
  read = sum(len(entry) for chunk in found for entry in chunk.entries)
  if size > _FREE_BYTES + _BYTES_PER_BYTE * read:
    raise errors.InputError(
      f"{frames} frames of {header.num_quantizers} layers would take {size} "
      f"bytes, and the file has {read} bytes of codes."
    )


def _codes(
  header: header_lib.Header,
  found: list[scan.Chunk],
  frames: int,
  tables: tables_lib.Tables | None,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns codes [C, F, n_q] and layers [C, F]."""
  codes = np.zeros((header.channels, frames, header.num_quantizers), np.int32)
  layers = np.zeros((header.channels, frames), np.int64)
  for group in _groups(found):
    decoded, good = coding.decode(group, header, tables=tables)
    for i, chunk in enumerate(group):
      place = slice(chunk.head.first_frame, chunk.head.stop_frame)
      codes[:, place, : decoded.shape[-1]] = decoded[i]
      layers[:, place] = good[i][:, None]
  return codes, layers


def _groups(found: list[scan.Chunk]) -> Iterable[list[scan.Chunk]]:
  """Chunks of one shape that follow each other, not too many at a time."""

  def shape(chunk: scan.Chunk) -> tuple[int, int, int]:
    return chunk.head.kind, chunk.head.frames, len(chunk.entries)

  for _, same in itertools.groupby(found, shape):
    while group := list(itertools.islice(same, _GROUP_CHUNKS)):
      yield group


def _worse(
  header: header_lib.Header, found: list[scan.Chunk], layers: np.ndarray
) -> Iterable[scan.Damage]:
  """Returns damage that only the entropy coder could see."""
  for chunk in found:
    if chunk.head.kind != chunks.ENTROPY:
      continue
    good = tuple(layers[:, chunk.head.first_frame].tolist())
    if good != chunk.layers:
      yield from scan.complaints(
        header, dataclasses.replace(chunk, layers=good), max(chunk.layers)
      )
