"""Shows how far a preparation is: audio done, speed, time left, on stderr."""

import sys
import time


class Progress:
  """One line that is rewritten on a terminal, or a line now and then."""

  _TERMINAL_SECONDS = 0.2
  _LOG_SECONDS = 15.0

  def __init__(self, output=None, *, already: float = 0.0):
    """Starts the clock.

    Args:
      already: share of the work that an earlier run did, 0 to 1.
    """
    self._already = already
    self._output = output or sys.stderr
    self._rewrites = self._output.isatty()
    self._started = self._shown = time.monotonic()
    self._width = 0

  def update(self, done: float, audio_seconds: float) -> None:
    """Shows the state, unless it has just been shown.

    Args:
      done: share of the work, 0 to 1, with what an earlier run did.
      audio_seconds: audio that came out so far, in this run.
    """
    now = time.monotonic()
    pause = self._TERMINAL_SECONDS if self._rewrites else self._LOG_SECONDS
    if now - self._shown < pause:
      return
    self._shown = now
    elapsed = now - self._started
    own = done - self._already
    left = elapsed * (1 - done) / own if own > 0 else 0.0
    line = (
      f"{100 * done:3.0f} %, {clock(audio_seconds)} of audio at "
      f"{audio_seconds / elapsed:.0f} x real time, {clock(left)} left"
    )
    if self._rewrites:
      self._output.write(f"\r{line:<{self._width}}")
      self._width = len(line)
    else:
      self._output.write(line + "\n")
    self._output.flush()

  def close(self) -> None:
    """Clears the line, so that what follows starts on an empty one."""
    if self._rewrites and self._width:
      self._output.write("\r" + " " * self._width + "\r")
      self._output.flush()


def clock(seconds: float) -> str:
  """Formats 3725 as '1:02:05'."""
  minutes, seconds = divmod(round(seconds), 60)
  return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
