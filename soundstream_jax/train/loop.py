"""The training loop: set up or resume, step, log, save, stop cleanly."""

import contextlib
import dataclasses
import functools
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors, os_signals
from soundstream_jax.checkpoint import folder, holder, manager
from soundstream_jax.data import held_out
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.data import source as source_lib
from soundstream_jax.devices import distributed, ending, gpu_flags, sharding
from soundstream_jax.model import quantizers
from soundstream_jax.train import (
  compiled,
  preemption,
  rollback,
  saves,
  start,
  validation,
)
from soundstream_jax.train import progress as progress_lib
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib
from soundstream_jax.train.monitoring import (
  alarms,
  clipping,
  clock,
  metric_writer,
  versions,
)
from soundstream_jax.train.monitoring import profile as profile_lib
from soundstream_jax.train.monitoring import watchdog as watchdog_lib

# For closing what may never answer.
_CLOSE_SECONDS = 5.0


def train(
  config: config_lib.Config,
  workdir,
  *,
  request: os_signals.StopRequest | None = None,
  take_over: bool = False,
) -> int:
  """Trains until config.num_steps; returns the process's exit code.

  The same call resumes: from the newest checkpoint, with the batch that the
  interrupted run would have taken next. SIGTERM and SIGINT, to any one of the
  processes at any moment, end in a saved step and errors.EXIT_PREEMPTED in all
  of them. After too many bad steps in a row training returns to a checkpoint
  and continues with other data, a bounded number of times (see `rollback`);
  then it saves the last good state, names the first bad term and returns
  errors.EXIT_BAD_STEPS.

  Args:
    config: what to train.
    workdir: folder of the run, the same for all processes.
    request: to stop, if it is heard since the process's start.
    take_over: takes the workdir from another job that writes there.

  Raises:
    InputError: data, mesh or workdir do not fit the configuration, or another
      job writes into the workdir.
    DiskError: a checkpoint cannot be written.
  """
  workdir = pathlib.Path(workdir)
  with contextlib.ExitStack() as stack:
    if request is None:
      request = stack.enter_context(os_signals.StopRequest())
    stopping = stack.enter_context(preemption.Stopping(request))
    start.check(config, workdir)
    mesh = distributed.make_mesh(config.mesh)
    sharding.check_batch(
      config.batch_size, mesh, microbatches=config.microbatches
    )
    # Data next: what is wrong with it shows before anything takes time.
    rows = sharding.process_rows(sharding.batch(mesh), config.batch_size)
    loader = loader_lib.train_loader(config, rows=rows)
    stack.callback(_within_seconds, loader.close)
    clips = _held_out(config)
    # Compiled when first called, so a run compiles what it needs.
    steps = {}
    for adversarial in (False, True):
      step, abstract = step_lib.build(config, mesh, adversarial=adversarial)
      name = f"step {'with' if adversarial else 'without'} discriminators"
      steps[adversarial] = compiled.Compiled(
        step,
        abstract,
        name=name,
        details=gpu_flags.autotuning(sharding.platform(mesh)),
      )
    distributed.check_shared(workdir)
    stack.enter_context(_held(workdir, take_over=take_over))
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
      stopping=stopping,
      watchdog=watchdog_lib.Watchdog(workdir, abort=config.watchdog_abort),
    )
    stack.enter_context(run.watchdog)
    while (exit_code := _start(run)) is None:
      pass  # rolled back: start again from the checkpoint before
    return exit_code


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
  stopping: preemption.Stopping
  watchdog: watchdog_lib.Watchdog


def _start(run: _Run) -> int | None:
  """Trains from what the workdir holds; returns None after a rollback."""
  config, workdir = run.config, run.workdir
  found = start.find(config, workdir)
  if distributed.is_primary():
    start.check_space(config, workdir, run.abstract[0])
  checkpoints = manager.Checkpoints(workdir, config.checkpoint)
  writer = metric_writer.MetricWriter(
    workdir, tensorboard=config.logging.tensorboard
  )
  try:
    state = start.state(
      config,
      workdir,
      run.mesh,
      run.loader,
      checkpoints,
      run.abstract[0],
      found=found,
    )
    if distributed.is_primary():
      folder.write_config(workdir, config)
      versions.note(workdir, step=int(state.step))
      start.describe(config, run.mesh, state)
    outputs = progress_lib.Outputs(
      config=config,
      checkpoints=checkpoints,
      saves=saves.Saves(
        config.checkpoint,
        first=int(state.step),
        start=int(state.rollback_count),
      ),
      writer=writer,
      alarms=alarms.Alarms(
        codebook_size=config.quantizer.codebook_size,
        learns=quantizers.of(config.quantizer).learns,
      ),
      clipping=clipping.Clipping(config),
      clock=clock.Clock(config, int(state.step)),
      watchdog=run.watchdog,
      rollback_count=int(state.rollback_count),
    )
    exit_code = _train(run, outputs, state, saved=found.latest)
  except BaseException:
    writer.close()
    # Saves that are under way may wait for a disk, or for a process, for ever.
    _within_seconds(checkpoints.close)
    raise
  checkpoints.close()
  return exit_code


def _train(
  run: _Run,
  outputs: progress_lib.Outputs,
  state: state_lib.TrainState,
  *,
  saved: int | None,
) -> int | None:
  """Trains to the last step, a request to stop or too many bad steps."""
  config = run.config
  data_offset = int(state.data_offset)
  run.loader.seek(int(state.step) + data_offset)
  progress = progress_lib.Progress(
    step=int(state.step), saved=saved, data=run.loader.state()
  )
  stopped = False
  while (
    progress.step < config.num_steps and not stopped and progress.bad is None
  ):
    state, progress, stopped = _step(run, outputs, state, progress)
    outputs.checkpoints.check()
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
    progress = progress_lib.save(
      progress, outputs, state, progress.step, progress.data
    )
  _close(outputs)
  if progress.bad is not None:
    return errors.EXIT_BAD_STEPS
  if stopped or run.stopping.was_asked():
    return errors.EXIT_PREEMPTED
  metric_writer.say("finished %d steps", progress.step)
  return 0


def _step(
  run: _Run,
  outputs: progress_lib.Outputs,
  state: state_lib.TrainState,
  progress: progress_lib.Progress,
) -> tuple[state_lib.TrainState, progress_lib.Progress, bool]:
  """Hands the device one step, and reads the one before.

  Returns:
    (state, progress, False); or both as they were, and True, where the run
    stops before this step.
  """
  config, watchdog, number = run.config, run.watchdog, progress.step + 1
  judged = progress.step >= config.discriminator.start_step
  step = run.steps[judged and config.discriminator.exists]
  if not step.is_compiled:
    with watchdog.phase("compile", number):
      _, stopped = run.stopping.unless_due(step.compile)
    if stopped:
      return state, progress, True
  run.profile.before(number)
  computed = progress.pending[-1].metrics if progress.pending else None
  with outputs.clock.waiting(computed), watchdog.phase("data", number):
    batch, stopped = run.stopping.unless_due(lambda: next(run.loader))
  if stopped or not run.stopping.goes_on():
    return state, progress, True
  batch = sharding.global_batch(
    sharding.batch(run.mesh), config.batch_size, batch
  )
  with watchdog.phase("step", number):
    state, metrics = step(state, batch)
  measure = None
  if _validates_at(run, number):
    measure = functools.partial(run.validate, state, outputs.writer, number)
  progress = progress_lib.hand_over(
    progress,
    metrics,
    state,
    run.loader.state(),
    outputs=outputs,
    measure=measure,
  )
  run.profile.after(progress.step, metrics)
  # Read, and saved, one step late: the device always has the next to do.
  if len(progress.pending) > 1:
    progress = progress_lib.read(progress, outputs)
  if measure is not None:
    progress = progress_lib.read_all(progress, outputs)
  return state, progress, False


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


@contextlib.contextmanager
def _held(workdir: pathlib.Path, *, take_over: bool) -> Iterator[None]:
  """Keeps other jobs out of the workdir, and ends this one if it is taken."""
  held = holder.Holder(
    workdir, on_lost=lambda line: ending.fail(errors.InputError(line))
  )
  distributed.from_primary(lambda: held.claim(take_over=take_over))
  try:
    yield
  finally:
    held.release()


def _within_seconds(close: Callable[[], None]) -> None:
  """Closes something that failed, and leaves it if that takes too long."""

  def attempt() -> None:
    with contextlib.suppress(Exception):  # the first one is on its way up
      close()

  thread = threading.Thread(target=attempt, daemon=True)
  thread.start()
  thread.join(timeout=_CLOSE_SECONDS)


def _held_out(config: config_lib.Config):
  """Returns clips [N, T, 1], or None where the dataset has no such split."""
  try:
    return held_out.held_out(config).audio
  except source_lib.SplitMissing as error:
    if config.checkpoint.best_of:
      raise errors.InputError(
        f"checkpoint.best_of={config.checkpoint.best_of} needs held-out clips: "
        f"{error}"
      ) from None
    logging.warning("training without held-out clips: %s", error)
    return None
