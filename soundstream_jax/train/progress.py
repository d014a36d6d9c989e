"""How far a run has come: finished steps are read, logged, saved and counted.

The device always has its next step when the metrics of the one before are
waited for, so every step is read one step late.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import manager
from soundstream_jax.devices import distributed
from soundstream_jax.train import bad_steps, rollback
from soundstream_jax.train import state as state_lib
from soundstream_jax.train.monitoring import (
  alarms,
  clock,
  metric_writer,
  watchdog,
)


@dataclasses.dataclass(frozen=True)
class Outputs:
  """Where finished steps go, from a start to its end or its rollback."""

  config: config_lib.Config
  checkpoints: manager.Checkpoints
  writer: metric_writer.MetricWriter
  alarms: alarms.Alarms
  clock: clock.Clock
  watchdog: watchdog.Watchdog
  rollback_count: int  # before this start


@dataclasses.dataclass(frozen=True)
class Finished:
  """A step that the device was handed, until its metrics are read."""

  step: int
  metrics: dict[str, jax.Array]
  snapshot: state_lib.TrainState | None  # to save, if the step was good
  data: dict[str, Any] | None  # the loader's position at the snapshot


@dataclasses.dataclass(frozen=True)
class Progress:
  """Of one start; every function here returns the next."""

  step: int  # that the device was handed last
  saved: int | None  # newest step that is on disk, or on its way there
  bad: rollback.BadSteps | None = None  # too many in a row
  pending: tuple[Finished, ...] = ()  # handed to the device, not read yet


def hand_over(
  progress: Progress,
  metrics: dict[str, jax.Array],
  state: state_lib.TrainState,
  data: dict[str, Any],
  *,
  config: config_lib.Config,
) -> Progress:
  """Adds the step that the device was just handed.

  Args:
    progress: so far.
    metrics: of the step.
    state: after it; copied where a checkpoint is due.
    data: the loader's position after it.
    config: what to train.
  """
  step = progress.step + 1
  due = step % config.checkpoint.every_steps == 0
  finished = Finished(
    step,
    metrics,
    snapshot=state_lib.snapshot(state) if due else None,
    data=data if due else None,
  )
  return dataclasses.replace(
    progress, step=step, pending=(*progress.pending, finished)
  )


def read(progress: Progress, outputs: Outputs) -> Progress:
  """Waits for the oldest pending step; logs it, saves it, or counts it as bad."""
  finished, *pending = progress.pending
  progress = dataclasses.replace(progress, pending=tuple(pending))
  config = outputs.config
  step, metrics = finished.step, finished.metrics
  with outputs.watchdog.phase("step", step):
    in_a_row = int(metrics["bad/steps"])
  outputs.watchdog.stepped()
  if in_a_row:
    term = bad_steps.CHECKED[int(metrics["bad/term"])]
    logging.warning(
      "step %d skipped: %s is not finite (%d in a row)", step, term, in_a_row
    )
    if in_a_row >= config.max_bad_steps and progress.bad is None:
      bad = rollback.BadSteps(step=step, count=in_a_row, term=term)
      progress = dataclasses.replace(progress, bad=bad)
  # Not amid bad steps: what is saved is what a rollback may return to.
  elif finished.snapshot is not None:
    progress = save(progress, outputs, finished.snapshot, step, finished.data)
  if step % config.logging.every_steps == 0 or step == config.num_steps:
    _log(step, metrics, outputs)
  return progress


def read_all(progress: Progress, outputs: Outputs) -> Progress:
  """Reads every pending step."""
  while progress.pending:
    progress = read(progress, outputs)
  return progress


def save(
  progress: Progress,
  outputs: Outputs,
  state: state_lib.TrainState,
  step: int,
  data: dict[str, Any],
) -> Progress:
  """Starts writing a checkpoint of a step."""
  metric_writer.say("saving step %d", step)
  with outputs.watchdog.phase("save", step):
    outputs.checkpoints.save(
      step,
      state_lib.to_items(state),
      config=outputs.config,
      data=data,
      rollback_count=outputs.rollback_count,
    )
  return dataclasses.replace(progress, saved=step)


def _log(step: int, metrics: dict[str, jax.Array], outputs: Outputs) -> None:
  """Writes a step's metrics, its line in the log, and alarms."""
  values = {name: np.asarray(value) for name, value in metrics.items()}
  speed = outputs.clock.lap(step)
  outputs.writer.scalars(step, values | speed)
  metric_writer.say(
    "step %d/%d | reconstruction %.3f | discriminator %.2f | codes %.0f"
    " | %.2f steps/s, %.1f s of audio/s, %.1f%% waiting | %s left",
    step,
    outputs.config.num_steps,
    values["loss/reconstruction"],
    values["loss/discriminator"],
    np.mean(values["codebook/perplexity"]),
    speed["speed/steps_per_second"],
    speed["speed/audio_seconds_per_second"],
    100 * speed["speed/data_wait_share"],
    outputs.clock.time_left(step),
  )
  for line in outputs.alarms.update(values):
    if distributed.is_primary():
      logging.warning("step %d | %s", step, line)
