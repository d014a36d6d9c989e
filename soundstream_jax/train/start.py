"""A run's first state: resumed, warm or fresh; and which runs are refused."""

import dataclasses
import pathlib

import jax
import numpy as np
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors, rates
from soundstream_jax.checkpoint import best, folder
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.devices import sharding
from soundstream_jax.train import kmeans_start
from soundstream_jax.train import rollback as rollback_lib
from soundstream_jax.train import state as state_lib


def check(config: config_lib.Config, workdir: pathlib.Path) -> None:
  """Refuses what cannot start, before anything is computed or written.

  Raises:
    InputError: the workdir holds another run, init_from another model,
      k-means would see too few frames, or checkpoint.best_of is no metric.
  """
  best.check_metric(config.checkpoint.best_of)
  saved = folder.read_config(workdir)
  if saved is not None:
    differences = config_lib.resume_differences(
      config_lib.from_dict(saved), config
    )
    if differences:
      raise errors.InputError(
        f"{workdir} holds a run with another configuration: "
        f"{'; '.join(differences)}. Undo these overrides, or use a new "
        "--workdir (--config.init_from takes over its weights)."
      )
  if folder.steps(workdir):
    return
  if config.init_from:
    _check_init_from(config)
  else:
    kmeans_start.check(config)


def state(config, workdir, mesh, loader, checkpoints, abstract):
  """Returns the state to train from: resumed, rolled back, warm or fresh.

  Args:
    config: what to train.
    workdir: of the run; `rollback.prepare` has been called.
    mesh: of the run.
    loader: of this process's rows.
    checkpoints: open.
    abstract: of `step.build`.
  """
  rollback = rollback_lib.read(workdir)
  latest = checkpoints.latest_step()
  if latest is None:
    first = 0 if rollback is None else rollback.next_batch
    found = begin(config, mesh, loader, abstract, first_batch=first)
  else:
    folder.read_meta(workdir, latest)  # refuses another format
    items = checkpoints.restore(state_lib.to_items(abstract), latest)
    logging.info("resuming %s at step %d", workdir, latest)
    found = state_lib.from_items(items)
  if rollback is None or int(found.rollback_count) >= rollback.rollback_count:
    return found
  counters = {
    "bad_steps": 0,
    "data_offset": rollback.next_batch - int(found.step),
    "rollback_count": rollback.rollback_count,
  }
  return found.replace(
    **{
      name: state_lib.place(np.asarray(value, np.int32), abstract.step.sharding)
      for name, value in counters.items()
    }
  )


def begin(config, mesh, loader, abstract, *, first_batch: int = 0):
  """Returns step 0: fresh, or with the weights of config.init_from."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  fresh = state_lib.init(config, shardings)
  if config.init_from:
    return _warm_start(config, fresh)
  logging.info(
    "k-means on %d frames for %d codes",
    kmeans_start.num_frames(config),
    config.quantizer.codebook_size,
  )
  loader.seek(first_batch)
  place = sharding.batch(mesh)
  heard = [
    sharding.global_batch(place, config.batch_size, next(loader).audio)
    for _ in range(config.quantizer.kmeans_batches)
  ]
  return kmeans_start.initialise(config, mesh, fresh, heard)


def describe(config, mesh, state) -> None:
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


def _warm_start(config, fresh) -> state_lib.TrainState:
  """Takes averaged parameters and codebooks of another run."""
  other = weights_lib.restore(config.init_from)
  logging.info("warm start from %s, step %d", config.init_from, other.step)

  def placed(new, old):
    return jax.tree.map(
      lambda a, b: state_lib.place(np.asarray(a), b.sharding), new, old
    )

  return fresh.replace(
    params=placed(other.params, fresh.params),
    ema_params=placed(other.params, fresh.ema_params),
    codebooks=placed(other.codebooks, fresh.codebooks),
  )


def _check_init_from(config: config_lib.Config) -> None:
  """Refuses another run's weights where they do not fit."""
  present = folder.steps(config.init_from)
  if not present:
    raise errors.InputError(
      f"init_from={config.init_from} holds no checkpoint. Name the workdir of "
      "a run that has saved one."
    )
  meta = folder.read_meta(config.init_from, present[-1])
  other = config_lib.from_dict(meta["config"])
  names = [
    f"{group}.{field.name}"
    for group in ("audio", "model")
    for field in dataclasses.fields(getattr(config, group))
  ]
  names += ["quantizer.num_quantizers", "quantizer.codebook_size"]
  for name in names:
    theirs, ours = config_lib.get(other, name), config_lib.get(config, name)
    if theirs != ours:
      raise errors.InputError(
        f"init_from={config.init_from} has {name}={theirs}, this run {ours}. "
        f"Set --config.{name}={theirs}."
      )
