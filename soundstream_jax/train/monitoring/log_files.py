"""Files of a log that stay readable when the disk under them fails.

What cannot be written raises and leaves nothing half: a file is cut back to
its last whole entry. The next entry opens it anew, so writing goes on as soon
as the disk has space again.
"""

import contextlib
import json
import os
import pathlib
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any

# A resumed run looks for the end of the last whole line in pieces of these.
_PIECE_BYTES = 1 << 16


class LineFile:
  """JSON lines, appended to what is there; a half line at its end goes."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    self._file = None

  def open(self) -> None:
    """Opens the file, or creates it; `append` does by itself."""
    if self._file is None:
      path = self._path
      self._file = _Whole(open(path, "a+b", buffering=0))  # noqa: SIM115
      try:
        self._file.cut_to_line()
      except BaseException:
        self.close()
        raise

  def append(self, line: Mapping[str, Any]) -> None:
    text = json.dumps(line) + "\n"
    self.open()
    try:
      self._file.append(text.encode())
    except BaseException:
      self.close()
      raise

  def close(self) -> None:
    file, self._file = self._file, None
    if file is not None:
      file.close()


class EventFiles:
  """TensorBoard's event files of one folder, one after the other.

  After a failure comes a new file: TensorBoard may have read the half record,
  and would not read what is written over it. Records are those of TensorFlow:
  length u64, its masked CRC-32C u32, data, its masked CRC-32C u32.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._file = self._path = None
    self._empty = True

  def open(self) -> None:
    """Begins a file; `append` does by itself."""
    if self._file is not None:
      return
    from tensorboardX.proto import event_pb2

    self._folder.mkdir(parents=True, exist_ok=True)
    self._path, self._file = _new(self._folder)
    self._empty = True
    begin = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
    self._write(_record(begin.SerializeToString()))

  def append(
    self, summaries: Iterable[Any], *, step: int, wall_time: float
  ) -> None:
    """Writes all of them or none.

    Args:
      summaries: of tensorboardX.summary, an event each.
      step: of all.
      wall_time: of all, seconds since 1970.
    """
    from tensorboardX.proto import event_pb2

    records = [
      _record(
        event_pb2.Event(
          summary=summary, step=step, wall_time=wall_time
        ).SerializeToString()
      )
      for summary in summaries
    ]
    self.open()
    self._write(b"".join(records))
    self._empty = False

  def close(self) -> None:
    file, self._file = self._file, None
    if file is not None:
      file.close()

  def _write(self, data: bytes) -> None:
    try:
      self._file.append(data)
    except BaseException:
      with contextlib.suppress(OSError):
        self.close()
      if self._empty:
        # A full disk would else collect a file for every entry it refuses.
        with contextlib.suppress(OSError):
          self._path.unlink()
      raise


class _Whole:
  """An unbuffered file that takes an entry as a whole or not at all."""

  def __init__(self, file):
    self._file = file
    self._end = file.seek(0, os.SEEK_END)

  def append(self, data: bytes) -> None:
    rest = memoryview(data)
    try:
      while rest:
        rest = rest[self._file.write(rest) :]
    except BaseException:
      with contextlib.suppress(OSError):
        self._file.truncate(self._end)
      raise
    self._end += len(data)

  def cut_to_line(self) -> None:
    """Removes what stands behind the last end of a line."""
    at = self._end
    while at:
      start = max(0, at - _PIECE_BYTES)
      self._file.seek(start)
      newline = self._file.read(at - start).rfind(b"\n")
      if newline >= 0:
        at = start + newline + 1
        break
      at = start
    if at < self._end:
      self._file.truncate(at)
      self._end = at

  def close(self) -> None:
    self._file.close()


def _new(folder: pathlib.Path):
  """Returns (path, file) of a file that was not there before."""
  name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
  number = 0
  while True:
    path = folder / (f"{name}.{number}" if number else name)
    try:
      return path, _Whole(open(path, "xb", buffering=0))
    except FileExistsError:
      number += 1


def _record(data: bytes) -> bytes:
  from tensorboardX import record_writer

  length = struct.pack("<Q", len(data))
  return b"".join(
    (
      length,
      struct.pack("<I", record_writer.masked_crc32c(length)),
      data,
      struct.pack("<I", record_writer.masked_crc32c(data)),
    )
  )
