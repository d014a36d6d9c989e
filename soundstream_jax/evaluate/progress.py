"""One line on stderr: how far a measurement is, and how long it will take."""

import contextlib
import sys
import time

# Seconds between two reports, on a terminal and in a log.
_REPORT_S = {True: 0.5, False: 30.0}


class Progress:
  """Says how far it is, not too often."""

  def __init__(self, total: int, *, noun: str):
    """Args: total: of what is to be done now; noun: of it, in the plural."""
    self._total, self._noun, self._done = total, noun, 0
    self._start = self._reported = time.monotonic()
    self._terminal = sys.stderr.isatty()

  def add(self) -> None:
    """Counts one."""
    self._done += 1
    now = time.monotonic()
    last = self._done == self._total
    if now - self._reported < _REPORT_S[self._terminal] and not last:
      return
    self._reported = now
    took = now - self._start
    left = took / self._done * (self._total - self._done)
    text = f"{self._done} of {self._total} {self._noun}, " + (
      f"took {duration(took)}" if last else f"{duration(left)} left"
    )
    end = "\n" if last or not self._terminal else ""
    begin = "\r\x1b[K" if self._terminal else ""
    # A stderr that cannot be written ends no work.
    with contextlib.suppress(OSError):
      print(f"{begin}{text}", end=end, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
  """Returns '12 s', '3 min 20 s' or '2 h 5 min'."""
  whole = round(seconds)
  if whole < 60:
    return f"{whole} s"
  if whole < 3600:
    return f"{whole // 60} min {whole % 60} s"
  return f"{whole // 3600} h {whole % 3600 // 60} min"
