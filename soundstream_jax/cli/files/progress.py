"""Says on stderr how far a command is that works on many files."""

import contextlib
import sys
import time

# Seconds between two reports, on a terminal and in a log.
_REPORT_S = {True: 0.5, False: 30.0}


class Progress:
  """Says how far it is, not too often.

  Attributes:
    heard_s: seconds of audio so far.
  """

  def __init__(self, total: int, *, noun: str = "files"):
    self.heard_s = 0.0
    self._total, self._noun, self._done = total, noun, 0
    self._start = self._reported = time.monotonic()
    self._terminal = sys.stderr.isatty()

  @property
  def speed(self) -> float:
    """How many times faster than real time."""
    return self.heard_s / max(time.monotonic() - self._start, 1e-9)

  def add(self, seconds: float, *, count: int = 1) -> None:
    """Counts a file, or several, of so much audio."""
    self._done += count
    self.heard_s += seconds
    now = time.monotonic()
    last = self._done == self._total
    if now - self._reported < _REPORT_S[self._terminal] and not last:
      return
    self._reported = now
    text = (
      f"{self._done} of {self._total} {self._noun}, {self.heard_s:.0f} s of "
      f"audio, {self.speed:.1f} times real time"
    )
    end = "\n" if last or not self._terminal else ""
    begin = "\r\x1b[K" if self._terminal else ""
    # A stderr that cannot be written ends no work.
    with contextlib.suppress(OSError):
      print(f"{begin}{text}", end=end, file=sys.stderr, flush=True)
