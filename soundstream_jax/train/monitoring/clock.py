"""Speed of a run, and the time that it has left."""

import time
from typing import Any

import jax

from soundstream_jax import config as config_lib


class Clock:
  """Measures the speed since the last lap; pauses do not count."""

  def __init__(self, config: config_lib.Config, step: int):
    self._config = config
    self._first = self._last = step
    self._lap = time.perf_counter()
    self._waited = self._paused = 0.0
    self._steps_per_second = 0.0

  def waiting(self, computed: Any = None):
    """Times waiting for data, unless the device has something to do meanwhile.

    Args:
      computed: results of what the device was given last.
    """
    return _Timed(self, "_waited", unless=computed)

  def paused(self):
    return _Timed(self, "_paused")

  def lap(self, step: int) -> dict[str, float]:
    """Returns the speed since the last lap and starts a new one."""
    now = time.perf_counter()
    seconds = max(now - self._lap - self._paused, 1e-9)
    steps = step - self._last
    self._steps_per_second = steps / seconds
    per_step = (
      self._config.batch_size
      * self._config.data.crop_samples
      / self._config.audio.sample_rate_hz
    )
    values = {
      "speed/steps_per_second": self._steps_per_second,
      "speed/audio_seconds_per_second": self._steps_per_second * per_step,
      "speed/data_wait_share": self._waited / seconds,
    }
    self._lap, self._last = now, step
    self._waited = self._paused = 0.0
    return values

  def time_left(self, step: int) -> str:
    left = self._config.num_steps - step
    seconds = round(left / max(self._steps_per_second, 1e-9))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


class _Timed:
  """Adds the time of a with-block to one attribute of a clock."""

  def __init__(self, clock: Clock, name: str, *, unless: Any = None):
    """Args: unless names arrays; if one is not computed at the end, no time."""
    self._clock, self._name, self._unless = clock, name, unless

  def __enter__(self):
    self._start = time.perf_counter()

  def __exit__(self, *_):
    if not all(leaf.is_ready() for leaf in jax.tree.leaves(self._unless)):
      return
    spent = time.perf_counter() - self._start
    setattr(self._clock, self._name, getattr(self._clock, self._name) + spent)
