"""Weights of a checkpoint: generator and codebooks, without the optimizers."""

import dataclasses
import os
import time
from collections.abc import Sequence

import flax.linen as nn
import jax
import orbax.checkpoint as ocp

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths
from soundstream_jax.checkpoint import best, folder, mistaken
from soundstream_jax.devices import backend
from soundstream_jax.model import codebook, soundstream

# Longer than the files of a checkpoint take to go.
_PRUNING_SECONDS = 1.0
_ATTEMPTS = 10

# Kind of parameters -> item of a checkpoint.
KINDS = {"ema": "ema_params", "raw": "params"}


@dataclasses.dataclass(frozen=True)
class Weights:
  """Parameters and codebooks of a checkpoint, on one local device."""

  config: config_lib.Config
  step: int
  params: dict  # of the generator
  codebooks: codebook.Codebooks


def restore(
  workdir, *, step: int | str | None = None, weights: str = "ema"
) -> Weights:
  """Reads generator parameters and codebooks onto one local device.

  A run that is training prunes its checkpoints: where the newest one goes while
  it is read, the one that is the newest by then is read.

  Args:
    workdir: of a training run, which may be running.
    step: None takes the newest checkpoint, 'best' the best one by the held-out
      metric that the run has in checkpoint.best_of.
    weights: 'ema' (the default everywhere) or 'raw'.

  Raises:
    InputError: no checkpoint, no such step (lists those present), a damaged
      checkpoint, one of another format, or no device of the kind that jax is
      told to use.
  """
  if weights not in KINDS:
    raise errors.InputError(
      f"weights={weights!r} is none of {', '.join(KINDS)}."
    )
  paths.check_text(os.fspath(workdir), workdir)
  for attempt in range(_ATTEMPTS):
    chosen = _chosen(workdir, step)
    if not attempt:
      backend.check()
    try:
      return _restore(workdir, chosen, KINDS[weights])
    except Exception:
      if not is_pruned(workdir, chosen):
        raise
    if step is not None:
      break
  raise pruned(workdir, chosen)


def pruned(workdir, step: int) -> errors.InputError:
  """Returns the line for a checkpoint that went while it was read."""
  return errors.InputError(
    f"the checkpoint of step {step} in {workdir} was pruned while it was "
    "read. Use another one, or pin one with soundstream pin."
  )


def _restore(workdir, step: int, item: str) -> Weights:
  check_undamaged(workdir, step, (item, "codebooks", "meta"))
  config = config_lib.from_dict(folder.read_meta(workdir, step)["config"])
  restored = _read(
    workdir,
    step,
    {
      item: nn.meta.unbox(soundstream.declare(config)),
      "codebooks": abstract_codebooks(config),
    },
  )
  return Weights(
    config=config,
    step=step,
    params=restored[item],
    codebooks=restored["codebooks"],
  )


def abstract_codebooks(config: config_lib.Config) -> codebook.Codebooks:
  """Returns the codebooks' shapes."""
  return jax.eval_shape(lambda: codebook.zeros(config))


def _chosen(workdir, step: int | str | None) -> int:
  """Returns the step to read: the one asked for, the best, or the newest."""
  present = folder.steps(workdir)
  if not present:
    raise mistaken.error(workdir)
  if step is None:
    return present[-1]
  return best.chosen(workdir, step)


def is_pruned(workdir, step: int) -> bool:
  """True if a checkpoint goes, file by file, or is gone."""
  deadline = time.monotonic() + _PRUNING_SECONDS
  path = folder.of_step(workdir, step)
  while all((path / item).is_dir() for item in folder.ITEMS):
    if time.monotonic() > deadline:
      return False
    time.sleep(0.05)
  # The newest of what is there is another one, or this was damage.
  return folder.steps(workdir)[-1:] != [step]


def check_undamaged(workdir, step: int, items: Sequence[str]) -> None:
  """Raises InputError, with another step, if an item is damaged."""
  reason = folder.damage(workdir, step, items=items)
  if reason is None:
    return
  others = [other for other in folder.steps(workdir) if other != step]
  raise errors.InputError(
    f"the checkpoint of step {step} in {workdir} is damaged: {reason}. "
    + (f"Use --step={others[-1]}." if others else "")
  )


def _read(workdir, step: int, abstract: dict[str, object]) -> dict:
  """Reads items of a checkpoint, by name, onto one local device."""
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  placed = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
    abstract,
  )
  with ocp.CheckpointManager(
    folder.of_step(workdir, step).parent,
    item_names=tuple(placed),
    options=ocp.CheckpointManagerOptions(read_only=True, create=False),
  ) as manager:
    return manager.restore(
      step,
      args=ocp.args.Composite(
        **{name: ocp.args.StandardRestore(of) for name, of in placed.items()}
      ),
    )
