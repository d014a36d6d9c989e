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
    self._start = self._first = self._reported = time.monotonic()
    self._terminal = sys.stderr.isatty()
    self._said = False

  def add(self) -> None:
    """Counts one."""
    self._done += 1
    now = time.monotonic()
    if self._done == 1:
      self._first = now
    last = self._done == self._total
    soon = now - self._reported < _REPORT_S[self._terminal]
    # What was soon done needs no line, but one that is there needs its end.
    if soon and not (last and (self._terminal or self._said)):
      return
    self._said = True
    self._reported = now
    text = f"{self._done} of {self._total} {self._noun}"
    if last:
      text += f", took {duration(now - self._start)}"
    elif self._done > 1:
      # The first one waited for processes to start and programs to compile.
      each = (now - self._first) / (self._done - 1)
      text += f", {duration(each * (self._total - self._done))} left"
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
