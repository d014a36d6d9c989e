"""How far a run has come: finished steps are read, logged, saved and counted.

The device always has its next step when the metrics of the one before are
waited for, so every step is read one step late; but for one that is validated,
which is read, measured and then saved at once.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import metrics as metrics_lib
from soundstream_jax.checkpoint import manager
from soundstream_jax.devices import distributed
from soundstream_jax.train import bad_steps, rollback, saves
from soundstream_jax.train import state as state_lib
from soundstream_jax.train.monitoring import (
  alarms,
  clipping,
  clock,
  metric_writer,
  watchdog,
)


@dataclasses.dataclass(frozen=True)
class Outputs:
  """Where finished steps go, from a start to its end or its rollback."""

  config: config_lib.Config
  checkpoints: manager.Checkpoints
  saves: saves.Saves
  writer: metric_writer.MetricWriter
  alarms: alarms.Alarms
  clipping: clipping.Clipping
  clock: clock.Clock
  watchdog: watchdog.Watchdog
  rollback_count: int  # before this start


@dataclasses.dataclass(frozen=True)
class Finished:
  """A step that the device was handed, until its metrics are read."""

  step: int
  metrics: dict[str, jax.Array]
  due: bool  # to be saved, if the step was good
  # What may be saved: the state itself for a step that is measured, whose turn
  # comes before the next step; a copy for others that are due.
  state: state_lib.TrainState | None
  data: dict[str, Any] | None  # the loader's position at that state
  measure: Callable[[], Mapping[str, Any]] | None  # of a step to be validated


@dataclasses.dataclass(frozen=True)
class Progress:
  """Of one start; every function here returns the next."""

  step: int  # that the device was handed last
  saved: int | None  # newest step that is on disk, or on its way there
  data: dict[str, Any]  # the loader's position, after this step
  bad: rollback.BadSteps | None = None  # too many in a row
  pending: tuple[Finished, ...] = ()  # handed to the device, not read yet
  # Metric -> mean over the held-out clips, of the step that was read last,
  # where that was good and measured.
  held_out: Mapping[str, float] | None = None


def hand_over(
  progress: Progress,
  metrics: dict[str, jax.Array],
  state: state_lib.TrainState,
  data: dict[str, Any],
  *,
  outputs: Outputs,
  measure: Callable[[], Mapping[str, Any]] | None = None,
) -> Progress:
  """Adds the step that the device was just handed.

  Args:
    progress: so far.
    metrics: of the step.
    state: after it; copied where a checkpoint is due.
    data: the loader's position after it.
    outputs: say whether it is.
    measure: validates the step, whose metrics are read before the next one is
      handed over.
  """
  step = progress.step + 1
  due = outputs.saves.due(step)
  if measure is None:
    state = state_lib.snapshot(state) if due else None
  finished = Finished(step, metrics, due, state, data, measure)
  return dataclasses.replace(
    progress, step=step, data=data, pending=(*progress.pending, finished)
  )


def read(progress: Progress, outputs: Outputs) -> Progress:
  """Waits for the oldest pending step; logs, measures, saves it where due.

  A bad one is counted and not saved.
  """
  finished, *pending = progress.pending
  progress = dataclasses.replace(
    progress, pending=tuple(pending), held_out=None
  )
  config = outputs.config
  step, metrics = finished.step, finished.metrics
  with outputs.watchdog.phase("step", step):
    in_a_row = int(metrics["bad/steps"])
  outputs.watchdog.stepped()
  outputs.clipping.add(metrics, good=not in_a_row)
  if in_a_row:
    term = bad_steps.CHECKED[int(metrics["bad/term"])]
    logging.warning(
      "step %d skipped: %s is not finite (%d in a row)", step, term, in_a_row
    )
    if in_a_row >= config.max_bad_steps and progress.bad is None:
      bad = rollback.BadSteps(step=step, count=in_a_row, term=term)
      progress = dataclasses.replace(progress, bad=bad)
  if step % config.logging.every_steps == 0 or step == config.num_steps:
    _log(step, metrics, outputs)
  held_out, improves = _measured(finished, outputs)
  # Not amid bad steps: what is saved is what a rollback may return to.
  if in_a_row:
    return progress
  progress = dataclasses.replace(progress, held_out=held_out)
  if finished.due or improves:
    progress = save(progress, outputs, _to_save(finished), step, finished.data)
  if improves:
    best = outputs.checkpoints.best.text(held_out)
    metric_writer.say("step %d is the best so far: %s", step, best)
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
  outputs.saves.begun()
  with outputs.watchdog.phase("save", step):
    outputs.checkpoints.save(
      step,
      state_lib.to_items(state),
      config=outputs.config,
      data=data,
      rollback_count=outputs.rollback_count,
      held_out=progress.held_out,
    )
  return dataclasses.replace(progress, saved=step)


def _measured(
  finished: Finished, outputs: Outputs
) -> tuple[Mapping[str, float] | None, bool]:
  """Validates a step if it is to be; returns the means, and if they are best."""
  if finished.measure is None:
    return None, False
  with (
    outputs.clock.paused(),
    outputs.watchdog.phase("validation", finished.step),
  ):
    found = finished.measure()
    means = {
      name: found[f"eval/{name}"] for name in metrics_lib.while_training()
    }
    return saves.agree(means, improves=outputs.checkpoints.best.improves(means))


def _is_unmeasured(name: str, value: np.ndarray) -> bool:
  return name.startswith("gradient_") and bool(np.any(np.isnan(value)))


def _to_save(finished: Finished) -> state_lib.TrainState:
  """Returns a copy of the state, which the next step cannot take away."""
  if finished.measure is None:
    return finished.state
  return state_lib.snapshot(finished.state)


def _log(step: int, metrics: dict[str, jax.Array], outputs: Outputs) -> None:
  """Writes a step's metrics, its line in the log, and alarms."""
  values = {name: np.asarray(value) for name, value in metrics.items()}
  if step % outputs.config.logging.every_steps:
    # The last step, which does not measure all that others do (`gradients`).
    values = {n: v for n, v in values.items() if not _is_unmeasured(n, v)}
  speed = outputs.clock.lap(step)
  outputs.writer.scalars(step, values | outputs.clipping.take(step) | speed)
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
