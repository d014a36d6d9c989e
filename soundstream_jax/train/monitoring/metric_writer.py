"""Logs of a run, by its primary process: JSON lines, TensorBoard and text."""

import functools
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import logging

from soundstream_jax.devices import distributed
from soundstream_jax.train.monitoring import log_files, log_thread

LINES = "metrics.jsonl"
EVENTS = "TensorBoard's events"


class MetricWriter:
  """Appends metrics to WORKDIR/metrics.jsonl and TensorBoard events.

  Nothing here waits for a disk or fails because of one: see `log_thread`. A
  resumed run appends: where a step occurs twice, the later line counts.
  """

  def __init__(self, workdir, *, tensorboard: bool):
    self._thread = self._events = None
    if not distributed.is_primary():
      return
    workdir = pathlib.Path(workdir)
    self._lines = log_files.LineFile(workdir / LINES)
    files = {LINES: self._lines}
    if tensorboard:
      self._events = log_files.EventFiles(workdir / "tensorboard")
      files[EVENTS] = self._events
    self._thread = log_thread.LogThread(workdir, files)

  def scalars(self, step: int, metrics: Mapping[str, object]) -> None:
    """Writes scalars and per-layer vectors (name/00, name/01, ...)."""
    if self._thread is None:
      return
    flat = {}
    for name, value in metrics.items():
      value = np.asarray(value)
      if value.ndim == 0:
        flat[name] = value.item()
      else:
        flat |= {f"{name}/{i:02d}": v.item() for i, v in enumerate(value)}
    line = {"step": step, "time": round(time.time(), 3)} | {
      name: _json_number(value) for name, value in flat.items()
    }
    self._thread.add(LINES, functools.partial(self._lines.append, line))
    self._add(
      step,
      lambda summary: [
        summary.scalar(name, value) for name, value in flat.items()
      ],
    )

  def audio(self, step: int, name: str, audio, sample_rate_hz: int) -> None:
    """Writes a waveform [T, 1]."""
    self._add(
      step,
      lambda summary: [
        summary.audio(name, np.clip(audio, -1, 1), sample_rate=sample_rate_hz)
      ],
    )

  def picture(self, step: int, name: str, values) -> None:
    """Writes a matrix [time, bins] as a picture, low bins at the bottom."""
    self._add(
      step,
      lambda summary: [
        summary.image(name, _colours(np.asarray(values)), dataformats="HWC")
      ],
    )

  def histogram(self, step: int, name: str, values) -> None:
    self._add(
      step,
      lambda summary: [summary.histogram(name, np.asarray(values), _bounds())],
    )

  def close(self) -> None:
    """Waits until all is written, at most log_thread.CLOSE_SECONDS."""
    if self._thread is not None:
      self._thread.close()

  def _add(self, step: int, convert: Callable[[Any], list]) -> None:
    """Hands events over; args: convert takes tensorboardX.summary."""
    if self._events is not None:
      write = functools.partial(
        _write_events, self._events, convert, int(step), time.time()
      )
      self._thread.add(EVENTS, write)


def say(message: str, *values) -> None:
  """One line in the log of the whole job, not one per process."""
  if distributed.is_primary():
    logging.info(message, *values)


def _write_events(
  events: log_files.EventFiles,
  convert: Callable[[Any], list],
  step: int,
  wall_time: float,
) -> None:
  from tensorboardX import summary

  events.append(convert(summary), step=step, wall_time=wall_time)


@functools.cache
def _bounds() -> list[float]:
  """Returns the bounds of TensorBoard's own histograms, 10 % apart."""
  bounds = [1e-12]
  while bounds[-1] * 1.1 < 1e20:
    bounds.append(bounds[-1] * 1.1)
  return [*(-bound for bound in reversed(bounds)), 0.0, *bounds]


def _json_number(value):
  """JSON has no NaN or infinity; they become null."""
  return value if np.isfinite(value) else None


def _colours(values: np.ndarray) -> np.ndarray:
  """[time, bins] -> uint8 [bins, time, 3], dark blue to yellow."""
  low, high = np.percentile(values, (1, 99.5))
  unit = np.clip((values.T[::-1] - low) / max(high - low, 1e-9), 0, 1)
  stops = np.linspace(0, 1, 4)
  channels = ((0, 120, 240, 255), (0, 30, 120, 250), (40, 110, 60, 160))
  return np.stack(
    [np.interp(unit, stops, channel) for channel in channels], axis=-1
  ).astype(np.uint8)
