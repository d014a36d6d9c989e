"""The training loop: set up or resume, step, log, save, stop cleanly."""

import collections
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors, rates
from soundstream_jax.checkpoint import manager
from soundstream_jax.data import held_out
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.data import source as source_lib
from soundstream_jax.devices import distributed, sharding
from soundstream_jax.train import compiled, preemption, start, validation
from soundstream_jax.train import rollback as rollback_lib
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib
from soundstream_jax.train.monitoring import alarms, metric_writer
from soundstream_jax.train.monitoring import clock as clock_lib
from soundstream_jax.train.monitoring import profile as profile_lib


def train(config: config_lib.Config, workdir) -> int:
  """Trains until config.num_steps; returns the process's exit code.

  The same call resumes: from the newest checkpoint, with the batch that the
  interrupted run would have taken next. SIGTERM and SIGINT, to any one of the
  processes, finish the step, save and return errors.EXIT_PREEMPTED in all of
  them. A run of bad steps goes back to a checkpoint and on with other data, a
  bounded number of times (see `rollback`); then it saves the last good state,
  names the first bad term and returns errors.EXIT_BAD_STEPS.

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
    )
    with preemption.Interrupts() as interrupts:
      while (exit_code := run(interrupts)) is None:
        pass  # rolled back: start again from what is there
      return exit_code
  finally:
    loader.close()


@dataclasses.dataclass(frozen=True)
class _BadSteps:
  step: int  # the last of them
  count: int  # in a row
  term: str  # the first that was not finite


@dataclasses.dataclass(frozen=True)
class _Finished:
  """A step that the device was handed, until its metrics are read."""

  step: int
  metrics: dict[str, jax.Array]
  snapshot: state_lib.TrainState | None  # to save, if the step was good
  data: dict[str, Any] | None  # the loader's position at the snapshot


@dataclasses.dataclass
class _Run:
  """What stays the same while the state changes."""

  config: config_lib.Config
  workdir: pathlib.Path
  mesh: jax.sharding.Mesh
  steps: dict[bool, Any]  # by whether the discriminators take part
  abstract: Any  # (state, batch) that the steps take
  loader: Any
  profile: profile_lib.Profile
  validate: validation.Validator | None

  def __call__(self, interrupts) -> int | None:
    """Trains from what the workdir holds; None after a rollback."""
    config, workdir = self.config, self.workdir
    rollback_lib.prepare(workdir)
    self.checkpoints = manager.Checkpoints(workdir, config.checkpoint)
    try:
      state = start.state(
        config,
        workdir,
        self.mesh,
        self.loader,
        self.checkpoints,
        self.abstract[0],
      )
      if distributed.is_primary():
        manager.write_config(workdir, config)
        _describe(config, self.mesh, state)
      self.alarms = alarms.Alarms(codebook_size=config.quantizer.codebook_size)
      self.bad: _BadSteps | None = None
      self.data_offset = int(state.data_offset)
      self.rollback_count = int(state.rollback_count)
      self.writer = metric_writer.MetricWriter(
        workdir, tensorboard=config.logging.tensorboard
      )
      return self._train(state, interrupts)
    finally:
      self.checkpoints.wait()
      self.checkpoints.close()

  def _train(self, state: state_lib.TrainState, interrupts) -> int | None:
    config = self.config
    done = int(state.step)
    self.saved = done if self.checkpoints.latest_step() == done else None
    clock = clock_lib.Clock(config, done)
    self.loader.seek(done + self.data_offset)
    pending: collections.deque[_Finished] = collections.deque()
    stopped = False
    while done < config.num_steps and not stopped and self.bad is None:
      self.profile.before(done + 1)
      with clock.waiting(pending[-1].metrics if pending else None):
        batch = next(self.loader)
      batch = sharding.global_batch(
        sharding.batch(self.mesh), config.batch_size, batch
      )
      adversarial = done >= config.discriminator.start_step
      state, metrics = self.steps[adversarial](state, batch)
      done += 1
      self.profile.after(done, metrics)
      # Read, and saved, one step late: the device always has the next to do.
      pending.append(self._finished(done, metrics, state))
      if len(pending) > 1:
        self._read(pending.popleft(), clock)
      if self._evaluates_at(done):
        self._drain(pending, clock)
        with clock.paused():
          self._evaluate(state, done)
      stopped = interrupts.asked(done)
    self.profile.close()
    self._drain(pending, clock)
    if self.bad is not None and self._may_roll_back():
      self._roll_back(done + self.data_offset)
      return None
    if stopped:
      logging.info("asked to stop: saving step %d", done)
    if self.saved != done:
      self._save(state, done, self.loader.state())
    self.checkpoints.wait()
    self.writer.close()
    if self.bad is not None:
      return errors.EXIT_BAD_STEPS
    if stopped:
      return errors.EXIT_PREEMPTED
    self._say("finished %d steps", done)
    return 0

  def _may_roll_back(self) -> bool:
    """Whether to go back once more; says what happens."""
    bad, most = self.bad, self.config.max_rollbacks
    if self.rollback_count < most:
      return True
    logging.error(
      "stopping: %d bad steps in a row; the first bad term is %s. Rolled back "
      "%d times, max_rollbacks=%d. The state before them is saved.",
      bad.count,
      bad.term,
      self.rollback_count,
      most,
    )
    return False

  def _roll_back(self, next_batch: int) -> None:
    """Writes down the way back; `rollback` and the next start go it."""
    bad = self.bad
    self.checkpoints.wait()
    self.writer.close()
    if distributed.is_primary():
      rollback = rollback_lib.plan(
        self.workdir,
        first_bad=bad.step - bad.count,
        next_batch=next_batch,
        rollback_count=self.rollback_count,
      )
      rollback_lib.write(self.workdir, rollback)
      logging.error(
        "rolling back (%d of %d): %d bad steps in a row from step %d on; the "
        "first bad term is %s. Back to step %d, on with batch %d.",
        rollback.rollback_count,
        self.config.max_rollbacks,
        bad.count,
        bad.step - bad.count + 1,
        bad.term,
        rollback.target,
        next_batch,
      )
    distributed.wait_for_all("rollback written")

  def _say(self, message: str, *values) -> None:
    """One line in the log of the whole job, not one per process."""
    if distributed.is_primary():
      logging.info(message, *values)

  def _finished(self, step: int, metrics, state) -> _Finished:
    if step % self.config.checkpoint.every_steps:
      return _Finished(step, metrics, snapshot=None, data=None)
    return _Finished(
      step,
      metrics,
      snapshot=state_lib.snapshot(state),
      data=self.loader.state(),
    )

  def _read(self, finished: _Finished, clock: clock_lib.Clock) -> None:
    """Waits for a step, logs and saves it, notes too many bad ones."""
    config = self.config
    step, metrics = finished.step, finished.metrics
    bad_steps = int(metrics["bad/steps"])
    if bad_steps:
      term = step_lib.CHECKED[int(metrics["bad/term"])]
      logging.warning(
        "step %d skipped: %s is not finite (%d in a row)", step, term, bad_steps
      )
      if bad_steps >= config.max_bad_steps and self.bad is None:
        self.bad = _BadSteps(step=step, count=bad_steps, term=term)
    # Not amid bad steps: what is saved is what a rollback may return to.
    elif finished.snapshot is not None:
      self._save(finished.snapshot, step, finished.data)
    if step % config.logging.every_steps == 0 or step == config.num_steps:
      values = {name: np.asarray(value) for name, value in metrics.items()}
      speed = clock.lap(step)
      self.writer.scalars(step, values | speed)
      self._say(
        "step %d/%d | reconstruction %.3f | discriminator %.2f | codes %.0f"
        " | %.2f steps/s, %.1f s of audio/s, %.1f%% waiting | %s left",
        step,
        config.num_steps,
        values["loss/reconstruction"],
        values["loss/discriminator"],
        np.mean(values["codebook/perplexity"]),
        speed["speed/steps_per_second"],
        speed["speed/audio_seconds_per_second"],
        100 * speed["speed/data_wait_share"],
        clock.time_left(step),
      )
      for line in self.alarms.update(values):
        if distributed.is_primary():
          logging.warning("step %d | %s", step, line)

  def _drain(self, pending, clock: clock_lib.Clock) -> None:
    while pending:
      self._read(pending.popleft(), clock)

  def _evaluates_at(self, step: int) -> bool:
    settings = self.config.evaluation
    return self.validate is not None and (
      step % settings.every_steps == 0
      or step in settings.at_steps
      or step == self.config.num_steps
    )

  def _evaluate(self, state: state_lib.TrainState, step: int) -> None:
    metrics = self.validate(state, self.writer, step)
    self._say(
      "step %d | held out: log-mel distance %.3f, SI-SDR %.2f dB",
      step,
      metrics["eval/log_mel"],
      metrics["eval/si_sdr_db"],
    )

  def _save(self, state: state_lib.TrainState, step: int, data) -> None:
    self._say("saving step %d", step)
    self.saved = step
    self.checkpoints.save(
      step,
      state_lib.to_items(state),
      config=self.config,
      data=data,
      rollback_count=self.rollback_count,
    )


def _held_out(config: config_lib.Config):
  """Returns clips [N, T, 1], or None where the dataset has no such split."""
  try:
    return held_out.held_out(config).audio
  except source_lib.SplitMissing as error:
    logging.warning("training without held-out clips: %s", error)
    return None


def _describe(config, mesh, state) -> None:
  """Logs what runs: devices, batch, parameters, bitrate."""

  def millions(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree)) / 1e6

  r = config.rates
  logging.info("mesh %s, %s", dict(mesh.shape), mesh.devices.flat[0].platform)
  logging.info(
    "%d processes; batch %d examples, %d per process, of %.2f s",
    jax.process_count(),
    config.batch_size,
    config.batch_size // jax.process_count(),
    config.data.crop_samples / config.audio.sample_rate_hz,
  )
  logging.info(
    "parameters: generator %.2f M, codebooks %.2f M, discriminators %.2f M",
    millions(state.params),
    millions(state.codebooks.vectors),
    millions(state.disc_params),
  )
  logging.info(
    "bitrate %s bit/s = %s frames/s * %d quantizers * %d bits",
    rates.describe_bps(r.bitrate_bps()),
    rates.describe_bps(r.frame_rate_hz),
    r.num_quantizers,
    r.bits_per_code,
  )
