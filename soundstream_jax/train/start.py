"""A run's first state: resumed, warm or fresh, and what refuses it."""

import dataclasses
import pathlib

import jax
import numpy as np
from absl import logging

from soundstream_jax import checkpoint, errors, sharding
from soundstream_jax import config as config_lib
from soundstream_jax.train import codebook_init
from soundstream_jax.train import state as state_lib


def check(config: config_lib.Config, workdir: pathlib.Path) -> None:
  """Refuses what cannot start, before anything is computed or written.

  Raises:
    InputError: the workdir holds another run, init_from another model, or
      k-means would see too few frames.
  """
  saved = checkpoint.read_config(workdir)
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
  if checkpoint.steps(workdir):
    return
  if config.init_from:
    _check_init_from(config)
  else:
    codebook_init.check(config)


def restore(workdir: pathlib.Path, checkpoints, abstract):
  """Returns the newest state on the shardings of `abstract`, or None."""
  latest = checkpoints.latest_step()
  if latest is None:
    return None
  items = checkpoints.restore(state_lib.to_items(abstract), latest)
  logging.info("resuming %s at step %d", workdir, latest)
  return state_lib.from_items(items)


def begin(config, mesh, loader, abstract) -> state_lib.TrainState:
  """Returns step 0: fresh, or with the weights of config.init_from."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  state = state_lib.init(config, shardings)
  if config.init_from:
    return _warm_start(config, state)
  logging.info(
    "k-means on %d frames for %d codes",
    codebook_init.num_frames(config),
    config.quantizer.codebook_size,
  )
  loader.seek(0)
  batches = [
    sharding.global_batch(sharding.batch(mesh), config.batch_size, next(loader))
    for _ in range(config.quantizer.kmeans_batches)
  ]
  return codebook_init.initialise(config, mesh, state, batches)


def _warm_start(config, state) -> state_lib.TrainState:
  """Takes averaged parameters and codebooks of another run."""
  other = checkpoint.restore_params_only(config.init_from)
  logging.info("warm start from %s, step %d", config.init_from, other.step)

  def placed(new, old):
    return jax.tree.map(
      lambda a, b: state_lib.place(np.asarray(a), b.sharding), new, old
    )

  return state.replace(
    params=placed(other.params, state.params),
    ema_params=placed(other.params, state.ema_params),
    codebooks=placed(other.codebooks, state.codebooks),
  )


def _check_init_from(config: config_lib.Config) -> None:
  """Refuses another run's weights where they do not fit."""
  present = checkpoint.steps(config.init_from)
  if not present:
    raise errors.InputError(
      f"init_from={config.init_from} holds no checkpoint. Name the workdir of "
      "a run that has saved one."
    )
  meta = checkpoint.read_meta(config.init_from, present[-1])
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
