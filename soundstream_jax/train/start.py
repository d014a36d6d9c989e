"""A run's first state: resumed, warm or fresh; and which runs are refused."""

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping

import jax
import numpy as np
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths, precision, rates
from soundstream_jax.checkpoint import best, fitting, folder
from soundstream_jax.checkpoint import origin as origin_lib
from soundstream_jax.convolution import methods
from soundstream_jax.devices import distributed, sharding
from soundstream_jax.model import codebook, quantizers
from soundstream_jax.train import kmeans_start
from soundstream_jax.train import rollback as rollback_lib
from soundstream_jax.train import state as state_lib


@dataclasses.dataclass(frozen=True)
class Found:
  """Everything in a workdir that decides how a run goes on.

  Process 0 has looked; what another host sees may be older for a while.
  """

  latest: int | None  # newest step to resume from
  rollback: rollback_lib.Rollback | None  # the newest, finished or not
  init_step: int | None  # of config.init_from, where the run begins with it


def check(config: config_lib.Config, workdir: pathlib.Path) -> None:
  """Refuses what cannot start, before anything is computed or written.

  Raises:
    InputError: in every process. The workdir cannot be written, or holds
      another run, init_from another model, k-means would see too few frames,
      checkpoint.best_of is no metric, or the processes were given different
      configurations.
  """

  def look() -> dict:
    _check_here(config, workdir)
    return config_lib.to_dict(config)

  of_process_0 = config_lib.from_dict(distributed.from_primary(look))
  names = dict(config_lib.walk(config))
  differences = [
    f"{name}: {config_lib.get(of_process_0, name)} there, {value} here"
    for name, value in names.items()
    if config_lib.get(of_process_0, name) != value
  ]
  if differences:
    raise errors.InputError(
      f"process {jax.process_index()} was given another configuration than "
      f"process 0: {'; '.join(differences)}. Give all the same flags."
    )


def _check_here(config: config_lib.Config, workdir: pathlib.Path) -> None:
  """Looks for what `check` refuses; raises InputError."""
  best.check_metric(config.checkpoint.best_of)
  paths.check_writable_folder(f"--workdir={workdir}", workdir)
  paths.check_text(f"--workdir={workdir}", workdir)
  saved = folder.read_config(workdir)
  if saved is not None:
    config_lib.check_resume(workdir, config_lib.from_dict(saved), config)
  if folder.steps(workdir):
    return
  if config.init_from:
    _check_init_from(config)
  else:
    kmeans_start.check(config)


def find(config: config_lib.Config, workdir: pathlib.Path) -> Found:
  """Looks into the workdir, once it is prepared; the same in all processes."""

  def look() -> dict:
    rollback_lib.prepare(workdir)
    rollback = rollback_lib.read(workdir)
    latest = max(folder.steps(workdir), default=None)
    if latest is not None:
      folder.read_meta(workdir, latest)  # refuses another format
    init = None
    if latest is None and config.init_from:
      init = origin_lib.step_of(config.init_from)
    return {
      "latest": latest,
      "rollback": None if rollback is None else dataclasses.asdict(rollback),
      "init_step": init,
    }

  found = distributed.from_primary(look)
  if found["rollback"] is not None:
    found["rollback"] = rollback_lib.Rollback(**found["rollback"])
  return Found(**found)


def check_space(
  config: config_lib.Config, workdir: pathlib.Path, abstract
) -> None:
  """Warns early where the disk will not hold the checkpoints to be kept."""
  each = sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract)
  )
  # One more is there while it is written.
  kept = config.checkpoint.keep + bool(config.checkpoint.best_of)
  missing = max(1, kept + 1 - len(folder.steps(workdir)))
  try:
    free = shutil.disk_usage(workdir).free
  except OSError:
    return
  if free < missing * each:
    logging.warning(
      "%s has %s; %d more checkpoints of %.0f MB each are to be kept. Free "
      "space, or use a smaller --config.checkpoint.keep, or another --workdir.",
      workdir,
      errors.space(workdir),
      missing,
      each / 1e6,
    )


def state(
  config, workdir, mesh, loader, checkpoints, abstract, *, found: Found
):
  """Returns the state to train from: resumed, rolled back, warm or fresh.

  Args:
    config: what to train.
    workdir: of the run.
    mesh: of the run.
    loader: of this process's rows.
    checkpoints: open.
    abstract: of `step.build`.
    found: in the workdir.

  Raises:
    InputError: this process does not see the checkpoint that process 0 sees.
  """
  rollback, latest = found.rollback, found.latest
  if latest is None:
    first = 0 if rollback is None else rollback.next_batch
    begun = begin(
      config,
      mesh,
      loader,
      abstract,
      first_batch=first,
      init_step=found.init_step,
    )
  else:
    distributed.wait_until_seen(
      *(folder.of_step(workdir, latest) / item for item in folder.ITEMS)
    )
    items = checkpoints.restore(state_lib.to_items(abstract), latest)
    logging.info("resuming %s at step %d", workdir, latest)
    begun = state_lib.from_items(items)
  if rollback is None or int(begun.rollback_count) >= rollback.rollback_count:
    return begun
  counters = {
    "bad_steps": 0,
    "data_offset": rollback.next_batch - int(begun.step),
    "rollback_count": rollback.rollback_count,
  }
  return begun.replace(
    **{
      name: state_lib.place(np.asarray(value, np.int32), abstract.step.sharding)
      for name, value in counters.items()
    }
  )


def begin(
  config,
  mesh,
  loader,
  abstract,
  *,
  first_batch: int = 0,
  init_step: int | None = None,
):
  """Returns step 0: fresh, or with what config.init_from has that fits."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  fresh, layers = state_lib.init(config, shardings), 0
  if config.init_from:
    fresh, layers = _warm_start(config, fresh, step=init_step)
  if layers == config.quantizer.num_quantizers:
    return fresh
  if frames := kmeans_start.num_frames(config):
    size = config.quantizer.codebook_size
    logging.info("k-means on %d frames for %d codes", frames, size)
  elif quantizers.of(config.quantizer).learns:
    logging.info("codebooks start at random")
  else:
    logging.info("codebooks are fixed: no k-means, no revival")
  loader.seek(first_batch)
  place = sharding.batch(mesh)
  heard = (
    sharding.global_batch(place, config.batch_size, next(loader).audio)
    for _ in range(kmeans_start.num_batches(config))
  )
  return kmeans_start.initialise(config, mesh, fresh, heard, layers=layers)


def describe(config, mesh, state) -> None:
  """Logs what runs: devices, batch, parameters, bitrate."""

  def millions(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree)) / 1e6

  r = config.rates
  platform = sharding.platform(mesh)
  logging.info("mesh %s, %s", dict(mesh.shape), platform)
  chosen = methods.choose(config.form, platform)
  logging.info(
    "convolutions: form %s, %s in training, %s in validation",
    next(n for n, method in methods.METHODS.items() if method is chosen),
    precision.products(config.dtype_in_training, platform),
    precision.products(config.model.compute_dtype, platform),
  )
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
  for window, bins in config_lib.crowded_windows(config.loss):
    logging.warning(
      "loss.mel_bins: a window of %d samples has %d frequencies for %d mel bins,"
      " which repeat each other",
      window,
      window // 2 + 1,
      bins,
    )


def _warm_start(
  config, fresh, *, step: int | None
) -> tuple[state_lib.TrainState, int]:
  """Takes what fits of another run; returns how many codebooks did, too."""
  origin = origin_lib.read(config.init_from, step=step)
  fit = fitting.fit(
    config,
    origin,
    params=fresh.params,
    discriminators=fresh.disc_params,
  )
  for what, names in (
    ("taken", fit.taken),
    ("left fresh", fit.fresh),
    ("not used", fit.unused),
  ):
    logging.info(
      "init_from=%s, step %d: %s: %s",
      config.init_from,
      origin.step,
      what,
      fitting.named(names) or "nothing",
    )
  return fresh.replace(
    params=_replaced(fresh.params, fit.params),
    ema_params=_replaced(fresh.ema_params, fit.ema_params),
    codebooks=_codebooks(config, fresh.codebooks, fit),
    disc_params=_replaced(fresh.disc_params, fit.discriminators),
  ), len(fit.vectors)


def _replaced(fresh, found):
  """Returns fresh parameters with those that were found in their places."""
  if not isinstance(fresh, Mapping):
    return state_lib.place(np.asarray(found), fresh.sharding)
  return {
    name: _replaced(leaf, found[name]) if name in found else leaf
    for name, leaf in fresh.items()
  }


def _codebooks(config, fresh: codebook.Codebooks, fit: fitting.Fit):
  """Returns codebooks of which the first layers are those that fit."""
  statistics = fit.statistics
  if statistics is None:
    # As if every code had had its share: it moves as the others do.
    frames = config.batch_size * config.rates.num_frames(
      config.data.crop_samples
    )
    counts = np.full(fit.vectors.shape[:2], frames / fit.vectors.shape[1])
    statistics = {"counts": counts, "sums": fit.vectors * counts[..., None]}

  def placed(leaf, first):
    whole = np.zeros(leaf.shape, leaf.dtype)
    if len(first):  # else it may be of another shape
      whole[: len(first)] = first
    return state_lib.place(whole, leaf.sharding)

  return codebook.Codebooks(
    vectors=placed(fresh.vectors, fit.vectors),
    counts=placed(fresh.counts, statistics["counts"]),
    sums=placed(fresh.sums, statistics["sums"]),
  )


def _check_init_from(config: config_lib.Config) -> None:
  """Refuses another run's arrays where they do not fit."""
  name = f"init_from={config.init_from}"
  other = origin_lib.check(config.init_from, field="init_from=")
  fitting.check(config, other, name=name)
  if fitting.layers(config, other) < config.quantizer.num_quantizers:
    kmeans_start.check(config)
