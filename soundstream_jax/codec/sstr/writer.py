"""Writes codes to files and streams of version 2, as they come."""

import dataclasses
import io
import os
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors, whole_files
from soundstream_jax.codec.sstr import chunks, coding, limits
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

# Frames of a chunk. In a file of 6 kbit/s, 256 frames add 2 % to the codes and
# a lost chunk is 3.4 s; in a stream, 8 frames wait 107 ms to be sent.
FILE_FRAMES = 256
STREAM_FRAMES = 8


class Writer:
  """Writes codes to a file or a pipe, chunk by chunk.

  The header is written at once, a chunk when its frames are there. What is
  packed depends on the codes only, not on the calls that they came in.
  """

  def __init__(
    self,
    file: BinaryIO,
    header: header_lib.Header,
    *,
    chunk_frames: int | None = None,
    tables: tables_lib.Tables | None = None,
  ):
    """Writes the header.

    Args:
      file: to write to; never read, never sought.
      header: of the file. Its `tables` are those of `tables`.
      chunk_frames: of a chunk, at most `header.chunk_frames`, which it is by
        default. A stream of the least delay has 1.
      tables: of the entropy coder; None packs.

    Raises:
      InputError: frames out of range, or other tables than the header's.
    """
    identity = bytes(16) if tables is None else tables.identity
    if header.tables != identity:
      raise errors.InputError(
        f"header.tables={header.tables.hex()} are not the tables "
        f"{identity.hex()} to write with."
      )
    self._frames = header.chunk_frames if chunk_frames is None else chunk_frames
    if not 1 <= self._frames <= header.chunk_frames:
      raise errors.InputError(
        f"chunk_frames={chunk_frames} is not between 1 and the header's "
        f"{header.chunk_frames}."
      )
    self._file, self._header, self._tables = file, header, tables
    self._pending = np.zeros(
      (header.channels, 0, header.num_quantizers), np.int32
    )
    self._first_frame = 0
    self._size = file.write(header.to_bytes())

  def write(self, codes: np.ndarray) -> None:
    """Takes the next frames and writes the chunks that are full.

    Args:
      codes: integers [C, F, n_q], any F.

    Raises:
      InputError: another shape than the header says, codes out of range, or
        more frames than a file can have.
    """
    header, codes = self._header, np.asarray(codes)
    expected = (header.channels, header.num_quantizers)
    if codes.ndim != 3 or (codes.shape[0], codes.shape[2]) != expected:
      raise errors.InputError(
        f"codes have shape {codes.shape}; the header says [{expected[0]}, F, "
        f"{expected[1]}]."
      )
    waiting = np.concatenate([self._pending, codes], axis=1)
    whole = waiting.shape[1] // self._frames * self._frames
    self._write(waiting[:, :whole], self._frames)
    self._pending = waiting[:, whole:]

  def close(self, source_samples: int | None = None) -> int:
    """Writes what is left, and the end chunk of a stream.

    Args:
      source_samples: per channel; needed where the header does not know them.

    Returns:
      The bytes written in all. The file is not closed.

    Raises:
      InputError: other samples than the header's, or than the frames cover.
    """
    header = self._header
    left = self._pending.shape[1]
    frames = self._first_frame + left
    samples = header.source_samples
    if source_samples is not None:
      if samples not in (None, source_samples):
        raise errors.InputError(
          f"source_samples={source_samples} are not the header's {samples}."
        )
      samples = source_samples
    if samples is None or header.frames_of(samples) != frames:
      raise errors.InputError(
        f"source_samples={samples} do not have the {frames} frames of codes."
      )
    if left:
      self._write(self._pending, left)
    if header.source_samples is None:
      self._size += self._file.write(chunks.end(samples, frames))
    self._check_size(frames, left)
    return self._size

  def close_file(self, source_samples: int) -> int:
    """Ends what began as a stream as a file, which says its length at once.

    Args:
      source_samples: per channel; they go into the header, whose place the
        writer goes back to: the file must be seekable.

    Returns:
      The bytes written in all: those of a file of known length.

    Raises:
      InputError: as `close`.
    """
    self._header = dataclasses.replace(
      self._header, source_samples=source_samples
    )
    size = self.close()
    self._file.seek(-size, os.SEEK_CUR)
    self._file.write(self._header.to_bytes())
    self._file.seek(0, os.SEEK_END)
    return size

  def _check_size(self, frames: int, left: int) -> None:
    if self._tables is None:
      full = frames // self._frames
      sizes = [self._frames] * full + [left] * bool(left)
      assert self._size == chunks.file_bytes(self._header, sizes)

  def _write(self, codes: np.ndarray, chunk_frames: int) -> None:
    stop = self._first_frame + codes.shape[1]
    if stop > limits.MAX_FRAMES:
      raise errors.InputError(
        f"{stop} frames are more than {limits.MAX_FRAMES}. End the stream "
        "and begin another."
      )
    for chunk in coding.encode(
      codes,
      self._header,
      first_frame=self._first_frame,
      chunk_frames=chunk_frames,
      tables=self._tables,
    ):
      self._file.write(chunk)
      self._size += len(chunk)
    self._first_frame = stop


def to_bytes(
  header: header_lib.Header,
  codes: np.ndarray,
  *,
  source_samples: int | None = None,
  chunk_frames: int | None = None,
  tables: tables_lib.Tables | None = None,
) -> bytes:
  """Returns a whole file; arguments and errors of `Writer`."""
  file = io.BytesIO()
  writer = Writer(file, header, chunk_frames=chunk_frames, tables=tables)
  writer.write(codes)
  writer.close(source_samples)
  return file.getvalue()


def write(
  path: str | os.PathLike,
  header: header_lib.Header,
  codes: np.ndarray,
  *,
  tables: tables_lib.Tables | None = None,
) -> int:
  """Writes a file of known length; returns its size in bytes.

  The file appears under its name only when it is complete.

  Raises:
    InputError: as `Writer`, or there is no such folder.
    DiskError: the disk cannot be written to.
  """
  with whole_files.opened(path) as file:
    writer = Writer(file, header, tables=tables)
    writer.write(codes)
    return writer.close()
