"""The training loop: set up or resume, step, log, save, stop cleanly."""

import dataclasses
import pathlib
from typing import Any

import jax
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder, manager
from soundstream_jax.data import held_out
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.data import source as source_lib
from soundstream_jax.devices import distributed, sharding
from soundstream_jax.train import (
  compiled,
  preemption,
  rollback,
  start,
  validation,
)
from soundstream_jax.train import progress as progress_lib
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib
from soundstream_jax.train.monitoring import alarms, clock, metric_writer
from soundstream_jax.train.monitoring import profile as profile_lib
from soundstream_jax.train.monitoring import watchdog as watchdog_lib


def train(config: config_lib.Config, workdir) -> int:
  """Trains until config.num_steps; returns the process's exit code.

  The same call resumes: from the newest checkpoint, with the batch that the
  interrupted run would have taken next. SIGTERM and SIGINT, to any one of the
  processes, finish the step, save and return errors.EXIT_PREEMPTED in all of
  them. After too many bad steps in a row training returns to a checkpoint and
  continues with other data, a bounded number of times (see `rollback`); then it
  saves the last good state, names the first bad term and returns
  errors.EXIT_BAD_STEPS.

  Raises:
    InputError: data, mesh or workdir do not fit the configuration.
  """
  workdir = pathlib.Path(workdir)
  start.check(config, workdir)
  mesh = distributed.make_mesh(config.mesh)
  sharding.check_batch(
    config.batch_size, mesh, microbatches=config.microbatches
  )
  # Data next: what is wrong with it shows before anything takes time.
  rows = sharding.process_rows(sharding.batch(mesh), config.batch_size)
  loader = loader_lib.train_loader(config, rows=rows)
  clips = _held_out(config)
  # Compiled when first called, so a run compiles what it needs.
  steps = {}
  for adversarial in (False, True):
    step, abstract = step_lib.build(config, mesh, adversarial=adversarial)
    name = f"step {'with' if adversarial else 'without'} discriminators"
    steps[adversarial] = compiled.Compiled(step, abstract, name=name)
  distributed.check_shared(workdir)
  try:
    run = _Run(
      config=config,
      workdir=workdir,
      mesh=mesh,
      steps=steps,
      abstract=abstract,
      loader=loader,
      profile=profile_lib.Profile(config, workdir),
      validate=(
        None if clips is None else validation.build(config, clips, mesh)
      ),
      watchdog=watchdog_lib.Watchdog(workdir, abort=config.watchdog_abort),
    )
    with preemption.StopSignals() as stop, run.watchdog:
      while (exit_code := _start(run, stop)) is None:
        pass  # rolled back: start again from the checkpoint before
      return exit_code
  finally:
    loader.close()


@dataclasses.dataclass(frozen=True)
class _Run:
  """Everything that stays the same from the first step to the last.

  Rollbacks included; how far a run has come is `progress.Progress`.
  """

  config: config_lib.Config
  workdir: pathlib.Path
  mesh: jax.sharding.Mesh
  steps: dict[bool, compiled.Compiled]  # by whether discriminators take part
  abstract: Any  # (state, batch) that the steps take
  loader: loader_lib.Loader
  profile: profile_lib.Profile
  validate: validation.Validator | None  # None without held-out clips
  watchdog: watchdog_lib.Watchdog


def _start(run: _Run, stop: preemption.StopSignals) -> int | None:
  """Trains from what the workdir holds; returns None after a rollback."""
  config, workdir = run.config, run.workdir
  rollback.prepare(workdir)
  checkpoints = manager.Checkpoints(workdir, config.checkpoint)
  try:
    state = start.state(
      config, workdir, run.mesh, run.loader, checkpoints, run.abstract[0]
    )
    if distributed.is_primary():
      folder.write_config(workdir, config)
      start.describe(config, run.mesh, state)
    outputs = progress_lib.Outputs(
      config=config,
      checkpoints=checkpoints,
      writer=metric_writer.MetricWriter(
        workdir, tensorboard=config.logging.tensorboard
      ),
      alarms=alarms.Alarms(codebook_size=config.quantizer.codebook_size),
      clock=clock.Clock(config, int(state.step)),
      watchdog=run.watchdog,
      rollback_count=int(state.rollback_count),
    )
    return _train(run, outputs, state, stop)
  finally:
    checkpoints.wait()
    checkpoints.close()


def _train(
  run: _Run,
  outputs: progress_lib.Outputs,
  state: state_lib.TrainState,
  stop: preemption.StopSignals,
) -> int | None:
  """Trains to the last step, a stop signal or too many bad steps."""
  config, first = run.config, int(state.step)
  data_offset = int(state.data_offset)
  saved = first if outputs.checkpoints.latest_step() == first else None
  progress = progress_lib.Progress(step=first, saved=saved)
  run.loader.seek(first + data_offset)
  stopped = False
  while (
    progress.step < config.num_steps and not stopped and progress.bad is None
  ):
    state, progress = _step(run, outputs, state, progress)
    stopped = stop.asked(progress.step)
  run.profile.close()
  progress = progress_lib.read_all(progress, outputs)
  if progress.bad is not None and rollback.is_allowed(
    config, progress.bad, rollback_count=outputs.rollback_count
  ):
    _close(outputs)
    rollback.begin(
      config,
      run.workdir,
      progress.bad,
      next_batch=progress.step + data_offset,
      rollback_count=outputs.rollback_count,
    )
    return None
  if stopped:
    logging.info("asked to stop: saving step %d", progress.step)
  if progress.saved != progress.step:
    progress_lib.save(
      progress, outputs, state, progress.step, run.loader.state()
    )
  _close(outputs)
  if progress.bad is not None:
    return errors.EXIT_BAD_STEPS
  if stopped:
    return errors.EXIT_PREEMPTED
  metric_writer.say("finished %d steps", progress.step)
  return 0


def _step(
  run: _Run,
  outputs: progress_lib.Outputs,
  state: state_lib.TrainState,
  progress: progress_lib.Progress,
) -> tuple[state_lib.TrainState, progress_lib.Progress]:
  """Hands the device one step, and reads the one before."""
  config, watchdog, number = run.config, run.watchdog, progress.step + 1
  step = run.steps[progress.step >= config.discriminator.start_step]
  with watchdog.phase("compile", number):
    step.compile()
  run.profile.before(number)
  computed = progress.pending[-1].metrics if progress.pending else None
  with outputs.clock.waiting(computed), watchdog.phase("data", number):
    batch = next(run.loader)
  batch = sharding.global_batch(
    sharding.batch(run.mesh), config.batch_size, batch
  )
  with watchdog.phase("step", number):
    state, metrics = step(state, batch)
  progress = progress_lib.hand_over(
    progress, metrics, state, run.loader.state(), config=config
  )
  run.profile.after(progress.step, metrics)
  # Read, and saved, one step late: the device always has the next to do.
  if len(progress.pending) > 1:
    progress = progress_lib.read(progress, outputs)
  if _validates_at(run, progress.step):
    progress = progress_lib.read_all(progress, outputs)
    with outputs.clock.paused(), watchdog.phase("validation", number):
      run.validate(state, outputs.writer, progress.step)
  return state, progress


def _validates_at(run: _Run, step: int) -> bool:
  settings = run.config.evaluation
  return run.validate is not None and (
    step % settings.every_steps == 0
    or step in settings.at_steps
    or step == run.config.num_steps
  )


def _close(outputs: progress_lib.Outputs) -> None:
  """Waits for checkpoints on their way to disk, and closes the log."""
  outputs.checkpoints.wait()
  outputs.writer.close()


def _held_out(config: config_lib.Config):
  """Returns clips [N, T, 1], or None where the dataset has no such split."""
  try:
    return held_out.held_out(config).audio
  except source_lib.SplitMissing as error:
    logging.warning("training without held-out clips: %s", error)
    return None
