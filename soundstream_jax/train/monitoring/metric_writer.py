"""Logs of a run, by its primary process: JSON lines, TensorBoard and text."""

import json
import pathlib
import time
from collections.abc import Mapping

import numpy as np
from absl import logging

from soundstream_jax.devices import distributed


class MetricWriter:
  """Appends metrics to WORKDIR/metrics.jsonl and TensorBoard events.

  A resumed run appends: where a step occurs twice, the later line counts.
  """

  def __init__(self, workdir, *, tensorboard: bool):
    self._lines = self._events = None
    if not distributed.is_primary():
      return
    workdir = pathlib.Path(workdir)
    # Line buffered, so that a killed run keeps what it has measured.
    path = workdir / "metrics.jsonl"
    self._lines = open(path, "a", buffering=1)  # noqa: SIM115
    if tensorboard:
      import tensorboardX

      self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"))

  def scalars(self, step: int, metrics: Mapping[str, object]) -> None:
    """Writes scalars and per-layer vectors (name/00, name/01, ...)."""
    if self._lines is None:
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
    self._lines.write(json.dumps(line) + "\n")
    if self._events is not None:
      for name, value in flat.items():
        self._events.add_scalar(name, value, step)

  def audio(self, step: int, name: str, audio, sample_rate_hz: int) -> None:
    """Writes a waveform [T, 1]."""
    if self._events is not None:
      self._events.add_audio(
        name, np.clip(audio, -1, 1), step, sample_rate=sample_rate_hz
      )

  def picture(self, step: int, name: str, values) -> None:
    """Writes a matrix [time, bins] as a picture, low bins at the bottom."""
    if self._events is not None:
      self._events.add_image(
        name, _colours(np.asarray(values)), step, dataformats="HWC"
      )

  def histogram(self, step: int, name: str, values) -> None:
    if self._events is not None:
      self._events.add_histogram(name, np.asarray(values), step)

  def close(self) -> None:
    if self._lines is not None:
      self._lines.close()
    if self._events is not None:
      self._events.close()


def say(message: str, *values) -> None:
  """One line in the log of the whole job, not one per process."""
  if distributed.is_primary():
    logging.info(message, *values)


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
