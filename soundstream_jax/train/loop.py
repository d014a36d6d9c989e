"""The training loop: set up or resume, step, log, save, stop cleanly."""

import collections
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
from absl import logging

from soundstream_jax import checkpoint, distributed, errors, rates, sharding
from soundstream_jax import config as config_lib
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.data import source as source_lib
from soundstream_jax.train import clock as clock_lib
from soundstream_jax.train import interrupts as interrupts_lib
from soundstream_jax.train import logging as logging_lib
from soundstream_jax.train import profile as profile_lib
from soundstream_jax.train import start, validation
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib


def train(config: config_lib.Config, workdir) -> int:
  """Trains until config.num_steps; returns the process's exit code.

  The same call resumes: from the newest checkpoint, with the batch that the
  interrupted run would have taken next. SIGTERM and SIGINT, to any one of the
  processes, finish the step, save and return errors.EXIT_PREEMPTED in all of
  them. A run of bad steps saves the last good state, names the first bad term
  and returns errors.EXIT_BAD_STEPS.

  Raises:
    InputError: data, mesh or workdir do not fit the configuration.
  """
  workdir = pathlib.Path(workdir)
  start.check(config, workdir)
  mesh = distributed.make_mesh(config.mesh)
  sharding.check_batch(config.batch_size, mesh)
  # Data next: what is wrong with it shows before anything takes time.
  rows = sharding.process_rows(sharding.batch(mesh), config.batch_size)
  loader = loader_lib.train_loader(config, rows=rows)
  clips = _held_out(config)
  # Compiled when first called, so a run compiles what it needs.
  steps = {
    adversarial: step_lib.build(config, mesh, adversarial=adversarial)
    for adversarial in (False, True)
  }
  abstract = steps[True][1]
  distributed.check_shared(workdir)
  checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint)
  try:
    state = start.restore(workdir, checkpoints, abstract[0])
    if state is None:
      state = start.begin(config, mesh, loader, abstract[0])
    if distributed.is_primary():
      checkpoint.write_config(workdir, config)
      _describe(config, mesh, state)
    run = _Run(
      config=config,
      steps={phase: step for phase, (step, _) in steps.items()},
      loader=loader,
      batch_sharding=abstract[1].sharding,
      checkpoints=checkpoints,
      writer=logging_lib.MetricWriter(
        workdir, tensorboard=config.logging.tensorboard
      ),
      profile=profile_lib.Profile(config, workdir),
      validate=(
        None if clips is None else validation.build(config, clips, mesh)
      ),
    )
    with interrupts_lib.Interrupts() as interrupts:
      return run(state, interrupts)
  finally:
    loader.close()
    checkpoints.wait()
    checkpoints.close()


@dataclasses.dataclass
class _Run:
  """What stays the same while the state changes."""

  config: config_lib.Config
  steps: dict[bool, Any]  # by whether the discriminators take part
  loader: Any
  batch_sharding: jax.sharding.NamedSharding
  checkpoints: checkpoint.Checkpoints
  writer: logging_lib.MetricWriter
  profile: profile_lib.Profile
  validate: validation.Validator | None

  def __call__(self, state: state_lib.TrainState, interrupts) -> int:
    config = self.config
    done = int(state.step)
    saved = done if self.checkpoints.latest_step() == done else None
    clock = clock_lib.Clock(config, done)
    self.loader.seek(done)
    pending: collections.deque[tuple[int, dict]] = collections.deque()
    exit_code = 0
    while done < config.num_steps:
      self.profile.before(done + 1)
      with clock.waiting():
        batch = next(self.loader)
      audio = sharding.global_batch(
        self.batch_sharding, config.batch_size, batch
      )
      adversarial = done >= config.discriminator.start_step
      state, metrics = self.steps[adversarial](state, audio)
      done += 1
      self.profile.after(done, metrics)
      # Read one step late: the device always has the next step to do.
      pending.append((done, metrics))
      if len(pending) > 1 and self._read(*pending.popleft(), clock):
        exit_code = errors.EXIT_BAD_STEPS
      if self._evaluates_at(done):
        self._drain(pending, clock)
        with clock.paused():
          self._evaluate(state, done)
      if interrupts.asked(done) and not exit_code:
        logging.info("asked to stop: saving step %d", done)
        exit_code = errors.EXIT_PREEMPTED
      if exit_code:
        break
      if done % config.checkpoint.every_steps == 0:
        self._save(state, done)
        saved = done
    self.profile.close()
    if self._drain(pending, clock) and not exit_code:
      exit_code = errors.EXIT_BAD_STEPS
    if saved != done:
      self._save(state, done)
    self.checkpoints.wait()
    self.writer.close()
    if exit_code == 0:
      self._say("finished %d steps", done)
    return exit_code

  def _say(self, message: str, *values) -> None:
    """One line in the log of the whole job, not one per process."""
    if distributed.is_primary():
      logging.info(message, *values)

  def _read(self, step: int, metrics: dict, clock: clock_lib.Clock) -> bool:
    """Waits for a step's metrics, logs them; True after too many bad steps."""
    config = self.config
    bad_steps = int(metrics["bad/steps"])
    if bad_steps:
      term = step_lib.CHECKED[int(metrics["bad/term"])]
      logging.warning(
        "step %d skipped: %s is not finite (%d in a row)", step, term, bad_steps
      )
      if bad_steps >= config.max_bad_steps:
        logging.error(
          "stopping: %d bad steps in a row; the first bad term is %s. The "
          "state before them is saved.",
          bad_steps,
          term,
        )
        return True
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
    return False

  def _drain(self, pending, clock: clock_lib.Clock) -> bool:
    stopped = False
    while pending:
      stopped |= self._read(*pending.popleft(), clock)
    return stopped

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

  def _save(self, state: state_lib.TrainState, step: int) -> None:
    self.checkpoints.save(
      step,
      state_lib.to_items(state),
      config=self.config,
      data=self.loader.state(),
    )


def _held_out(config: config_lib.Config):
  """Returns clips [N, T, 1], or None where the dataset has no such split."""
  try:
    return loader_lib.held_out(config).audio
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
