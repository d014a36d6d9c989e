"""Checkpoints: one atomic Orbax step with everything a run needs.

    WORKDIR/config.json            the run's configuration
    WORKDIR/checkpoints/STEP/      params, ema_params, codebooks, trainer, meta
    WORKDIR/pins/STEP              a checkpoint that is never pruned

`params`, `ema_params` and `codebooks` are items of their own, so that a codec
reads them without knowing the optimizers. `meta` is JSON: format version,
configuration, data position and rollbacks so far. `sums.sha256` in a step's
folder tells damage. Reading a checkpoint never runs code.
"""

import dataclasses
import json
import os
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import orbax.checkpoint as ocp

from soundstream_jax import config as config_lib
from soundstream_jax import errors, precision
from soundstream_jax.checkpoint import integrity
from soundstream_jax.devices import distributed
from soundstream_jax.model import codebook, soundstream

FORMAT_VERSION = 2
WEIGHTS = {"ema": "ema_params", "raw": "params"}
ITEMS = ("params", "ema_params", "codebooks", "trainer", "meta")


@dataclasses.dataclass(frozen=True)
class Restored:
  """What a codec needs of a checkpoint."""

  config: config_lib.Config
  step: int
  params: dict
  codebooks: codebook.Codebooks


class _Preservation:
  """Keeps the newest `keep`, the multiples of `every`, and every pin."""

  def __init__(self, workdir: pathlib.Path, keep: int, every: int):
    self._workdir, self._keep, self._every = workdir, keep, every

  def should_preserve(self, checkpoints: Sequence, *, context) -> list[bool]:
    del context
    kept = pinned(self._workdir)
    oldest_kept = len(checkpoints) - self._keep
    return [
      index >= oldest_kept
      or checkpoint.step in kept
      or (self._every > 0 and checkpoint.step % self._every == 0)
      for index, checkpoint in enumerate(checkpoints)
    ]


class Checkpoints:
  """The checkpoints of one workdir, written while training goes on."""

  def __init__(self, workdir, settings: config_lib.Checkpoint):
    self._workdir = pathlib.Path(workdir).absolute()
    self._sealing: threading.Thread | None = None
    self._manager = ocp.CheckpointManager(
      self._workdir / "checkpoints",
      item_names=ITEMS,
      options=ocp.CheckpointManagerOptions(
        save_interval_steps=1,
        preservation_policy=_Preservation(
          self._workdir, settings.keep, settings.keep_every_steps
        ),
        cleanup_tmp_directories=True,
      ),
    )

  def latest_step(self) -> int | None:
    return self._manager.latest_step()

  def save(
    self,
    step: int,
    items: Mapping[str, Any],
    *,
    config: config_lib.Config,
    data: Mapping[str, Any],
    rollback_count: int = 0,
  ) -> None:
    """Starts writing a checkpoint; every process calls this.

    Args:
      step: number of finished steps.
      items: params, ema_params, codebooks and trainer, trees of arrays.
      config: what the run is.
      data: the loader's position, JSON.
      rollback_count: rollbacks of this run so far.
    """
    meta = {
      "format_version": FORMAT_VERSION,
      "step": step,
      "config": config_lib.to_dict(config),
      "data": dict(data),
      "rollback_count": rollback_count,
    }
    self._manager.save(
      step,
      args=ocp.args.Composite(
        meta=ocp.args.JsonSave(meta),
        **{
          name: ocp.args.StandardSave(items[name])
          for name in ITEMS
          if name != "meta"
        },
      ),
      force=True,
    )
    if distributed.is_primary():
      self._join()
      self._sealing = threading.Thread(
        target=integrity.seal, args=(_folder(self._workdir, step),), daemon=True
      )
      self._sealing.start()

  def restore(self, abstract: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Returns the items of a step on the shardings of the abstract arrays."""
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        meta=ocp.args.JsonRestore(),
        **{
          name: ocp.args.StandardRestore(tree)
          for name, tree in abstract.items()
        },
      ),
    )
    return {name: restored[name] for name in ("meta", *abstract)}

  def wait(self) -> None:
    """Returns when everything that was saved is on disk."""
    self._manager.wait_until_finished()
    self._join()

  def close(self) -> None:
    self._manager.close()
    self._join()

  def _join(self) -> None:
    if self._sealing is not None:
      self._sealing.join(timeout=60)
      self._sealing = None


def write_config(workdir, config: config_lib.Config) -> None:
  """Writes WORKDIR/config.json, whole or not at all."""
  path = pathlib.Path(workdir) / "config.json"
  temporary = path.with_suffix(".json.tmp")
  temporary.write_text(json.dumps(config_lib.to_dict(config), indent=2) + "\n")
  os.replace(temporary, path)


def read_config(workdir) -> dict[str, Any] | None:
  """Returns the saved configuration's dict, None where there is none.

  Raises:
    InputError: the file is not JSON.
  """
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    return None
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise errors.InputError(
      f"{path} is not valid JSON ({error}). Restore it from a checkpoint's "
      "meta, or start a new workdir."
    ) from None


def steps(workdir) -> list[int]:
  """Returns the steps of finished checkpoints, ascending."""
  return [
    step
    for step in folders(workdir)
    if (_folder(workdir, step) / "meta").is_dir()
  ]


def folders(workdir) -> list[int]:
  """Returns the steps that have a folder, damaged or not, ascending."""
  folder = pathlib.Path(workdir) / "checkpoints"
  if not folder.is_dir():
    return []
  return sorted(
    int(path.name) for path in folder.iterdir() if path.name.isdecimal()
  )


def damage(workdir, step: int, *, items: Sequence[str] = ITEMS) -> str | None:
  """Returns what is wrong with the items of a checkpoint, or None."""
  folder = _folder(workdir, step)
  for item in items:
    if not (folder / item).is_dir():
      return f"{item} is missing"
  return integrity.damage(folder, parts=items)


def _folder(workdir, step: int) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / "checkpoints" / str(step)


def pin(workdir, step: int) -> None:
  """Keeps a checkpoint for ever.

  Raises:
    InputError: there is no such checkpoint.
  """
  _check_step(workdir, step)
  folder = pathlib.Path(workdir) / "pins"
  folder.mkdir(exist_ok=True)
  (folder / str(step)).touch()


def unpin(workdir, step: int) -> None:
  """Lets a checkpoint be pruned again."""
  (pathlib.Path(workdir) / "pins" / str(step)).unlink(missing_ok=True)


def pinned(workdir) -> set[int]:
  """Returns the pinned steps."""
  folder = pathlib.Path(workdir) / "pins"
  if not folder.is_dir():
    return set()
  return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}


def restore_params_only(
  workdir, *, step: int | None = None, weights: str = "ema"
) -> Restored:
  """Reads generator parameters and codebooks onto one local device.

  Args:
    workdir: of a training run.
    step: None takes the newest checkpoint.
    weights: 'ema' (the default everywhere) or 'raw'.

  Raises:
    InputError: no checkpoint, no such step (lists those present), or a
      checkpoint of another format.
  """
  if weights not in WEIGHTS:
    raise errors.InputError(
      f"weights={weights!r} is none of {', '.join(WEIGHTS)}."
    )
  present = steps(workdir)
  if not present:
    raise errors.InputError(
      f"{workdir} holds no checkpoint. Give the --workdir of a training run "
      "that has saved one."
    )
  step = present[-1] if step is None else step
  _check_step(workdir, step)
  item = WEIGHTS[weights]
  reason = damage(workdir, step, items=(item, "codebooks", "meta"))
  if reason is not None:
    others = ", ".join(str(other) for other in present if other != step)
    raise errors.InputError(
      f"the checkpoint of step {step} in {workdir} is damaged: {reason}. "
      + (f"Use --step={others.split(', ')[-1]}." if others else "")
    )
  meta = read_meta(workdir, step)
  config = config_lib.from_dict(meta["config"])
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

  def placed(abstract):
    return jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=device
      ),
      abstract,
    )

  params = nn.meta.unbox(soundstream.declare(config))
  with ocp.CheckpointManager(
    _folder(workdir, step).parent,
    item_names=(item, "codebooks"),
    options=ocp.CheckpointManagerOptions(read_only=True, create=False),
  ) as manager:
    restored = manager.restore(
      step,
      args=ocp.args.Composite(
        **{
          item: ocp.args.StandardRestore(placed(params)),
          "codebooks": ocp.args.StandardRestore(
            placed(abstract_codebooks(config))
          ),
        }
      ),
    )
  return Restored(
    config=config,
    step=step,
    params=restored[item],
    codebooks=restored["codebooks"],
  )


def abstract_codebooks(config: config_lib.Config) -> codebook.Codebooks:
  """Returns the codebooks' shapes."""
  dtype = precision.of_parameters(config.model.compute_dtype)
  return jax.eval_shape(
    lambda: codebook.zeros(
      config.quantizer.num_quantizers,
      config.quantizer.codebook_size,
      config.model.embedding_dim,
      dtype,
    )
  )


def read_meta(workdir, step: int) -> dict[str, Any]:
  """Returns a checkpoint's meta item.

  Raises:
    InputError: another format version.
  """
  path = _folder(workdir, step) / "meta/metadata"
  meta = json.loads(path.read_text())
  if meta.get("format_version") != FORMAT_VERSION:
    raise errors.InputError(
      f"{path.parent.parent} has checkpoint format "
      f"{meta.get('format_version')}; this version reads {FORMAT_VERSION}."
    )
  return meta


def _check_step(workdir, step: int) -> None:
  present = steps(workdir)
  if step not in present:
    raise errors.InputError(
      f"{workdir} has no checkpoint of step {step}. Present: "
      f"{', '.join(map(str, present)) or 'none'}."
    )
