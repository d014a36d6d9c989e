"""Checkpoints of a run: one atomic Orbax step with everything it needs.

They are written while training continues, and pruned but for those to keep.
`folder` has their layout on disk.
"""

import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import orbax.checkpoint as ocp

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import folder, integrity
from soundstream_jax.devices import distributed


class _Preservation:
  """Keeps the newest `keep`, the multiples of `every`, and every pin."""

  def __init__(self, workdir: pathlib.Path, keep: int, every: int):
    self._workdir, self._keep, self._every = workdir, keep, every

  def should_preserve(self, checkpoints: Sequence, *, context) -> list[bool]:
    del context
    kept = folder.pinned(self._workdir)
    oldest_kept = len(checkpoints) - self._keep
    return [
      index >= oldest_kept
      or checkpoint.step in kept
      or (self._every > 0 and checkpoint.step % self._every == 0)
      for index, checkpoint in enumerate(checkpoints)
    ]


class Checkpoints:
  """The checkpoints of one workdir, written while training continues."""

  def __init__(self, workdir, settings: config_lib.Checkpoint):
    self._workdir = pathlib.Path(workdir).absolute()
    self._sealing: threading.Thread | None = None
    self._ended = threading.Event()  # the save that is being sealed
    self._manager = ocp.CheckpointManager(
      self._workdir / "checkpoints",
      item_names=folder.ITEMS,
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
      "format_version": folder.FORMAT_VERSION,
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
          for name in folder.ITEMS
          if name != "meta"
        },
      ),
      force=True,
    )
    if distributed.is_primary():
      self._join()
      self._ended = threading.Event()
      self._sealing = threading.Thread(
        target=integrity.seal,
        args=(folder.of_step(self._workdir, step), self._ended),
        daemon=True,
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
    try:
      self._manager.wait_until_finished()
    finally:
      self._join()

  def close(self) -> None:
    try:
      self._manager.close()
    finally:
      self._join()

  def _join(self) -> None:
    if self._sealing is not None:
      self._ended.set()
      self._sealing.join(timeout=60)
      self._sealing = None
