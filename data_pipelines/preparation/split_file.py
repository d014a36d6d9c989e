"""Reads files in a row as one file, such as the volumes of an archive."""

import bisect
import io
import itertools
import os
import pathlib
from collections.abc import Sequence


def open_all(paths: Sequence[pathlib.Path]) -> io.BufferedReader:
  """Opens files as if `cat` had joined them; seekable."""
  return io.BufferedReader(_Joined(paths))


class _Joined(io.RawIOBase):
  """The raw file below: one read stays within one file."""

  def __init__(self, paths: Sequence[pathlib.Path]):
    self._files = [path.open("rb") for path in paths]
    sizes = [os.fstat(file.fileno()).st_size for file in self._files]
    self._ends = list(itertools.accumulate(sizes))
    self._at = 0

  def close(self) -> None:
    for file in self._files:
      file.close()
    super().close()

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def tell(self) -> int:
    return self._at

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    start = {
      os.SEEK_SET: 0,
      os.SEEK_CUR: self._at,
      os.SEEK_END: self._ends[-1],
    }
    self._at = max(0, start[whence] + offset)
    return self._at

  def readinto(self, buffer) -> int:
    number = bisect.bisect_right(self._ends, self._at)
    if number == len(self._files):
      return 0
    file = self._files[number]
    file.seek(self._at - (self._ends[number - 1] if number else 0))
    count = file.readinto(memoryview(buffer)[: self._ends[number] - self._at])
    self._at += count
    return count
