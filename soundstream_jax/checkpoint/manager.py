"""Checkpoints of a run: one atomic Orbax step with everything it needs.

They are written while training continues, and pruned but for those to keep.
`folder` has their layout on disk.
"""

import contextlib
import errno
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orbax.checkpoint as ocp

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import best, folder, integrity
from soundstream_jax.devices import distributed

# Answers of a system whose disk is full, forbidden or broken.
_DISK = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EFBIG,
  errno.EROFS,
  errno.EIO,
  errno.EACCES,
  errno.EPERM,
  errno.ESTALE,
)

# Orbax reads the clock of the day: one that jumps by an hour ends no save.
_SAVE_SECONDS = 7200


class _Preservation:
  """Keeps the newest `keep`, the multiples of `every`, the best, every pin.

  Orbax asks when it has begun to write a checkpoint, and deletes what is not
  kept once that one is on disk: a best one outlives a save that fails.
  """

  def __init__(
    self, workdir: pathlib.Path, settings: config_lib.Checkpoint, record
  ):
    self._workdir, self._best = workdir, record
    self._keep, self._every = settings.keep, settings.keep_every_steps

  def should_preserve(self, checkpoints: Sequence, *, context) -> list[bool]:
    del context
    kept = folder.pinned(self._workdir)
    kept.add(self._best.among(checkpoint.step for checkpoint in checkpoints))
    oldest_kept = len(checkpoints) - self._keep
    return [
      index >= oldest_kept
      or checkpoint.step in kept
      or (self._every > 0 and checkpoint.step % self._every == 0)
      for index, checkpoint in enumerate(checkpoints)
    ]


def disk_failure(error: BaseException) -> str | None:
  """Returns how the system names a disk's failure behind an error, or None.

  Orbax and TensorStore pass it on in errors of their own, as text.
  """
  chain = []
  while error is not None and error not in chain:
    chain.append(error)
    error = error.__cause__ or error.__context__
  for link in chain:
    if isinstance(link, OSError) and link.errno in _DISK:
      return os.strerror(link.errno)
    for number in _DISK:
      if os.strerror(number) in str(link):
        return os.strerror(number)
  return None


class Checkpoints:
  """The checkpoints of one workdir, written while training continues."""

  def __init__(self, workdir, settings: config_lib.Checkpoint):
    self._workdir = pathlib.Path(workdir).absolute()
    self._sealing: threading.Thread | None = None
    self._ended = threading.Event()  # the save that is being sealed
    self._saving: int | None = None  # the newest save that was started
    self._unchecked = False  # whether nobody has asked how it ended
    self.best = best.Record(self._workdir, settings.best_of)
    with self._writing(step=None):
      self._manager = self._open(settings)

  def _open(self, settings: config_lib.Checkpoint) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
      self._workdir / "checkpoints",
      item_names=folder.ITEMS,
      options=ocp.CheckpointManagerOptions(
        save_interval_steps=1,
        preservation_policy=_Preservation(self._workdir, settings, self.best),
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(timeout_secs=_SAVE_SECONDS),
      ),
    )

  def save(
    self,
    step: int,
    items: Mapping[str, Any],
    *,
    config: config_lib.Config,
    data: Mapping[str, Any],
    rollback_count: int = 0,
    held_out: Mapping[str, float] | None = None,
  ) -> None:
    """Starts writing a checkpoint; every process calls this.

    Args:
      step: number of finished steps.
      items: params, ema_params, codebooks and trainer, trees of arrays.
      config: what the run is.
      data: the loader's position, JSON.
      rollback_count: rollbacks of this run so far.
      held_out: metric -> mean over the held-out clips, finite, of a step that
        was validated.
    """
    meta = {
      "format_version": folder.FORMAT_VERSION,
      "step": step,
      "config": config_lib.to_dict(config),
      "data": dict(data),
      "rollback_count": rollback_count,
    }
    if held_out:
      meta["held_out"] = dict(held_out)
    self.best.note(step, held_out)
    with self._writing(step):
      self._save(step, meta, items)
    if distributed.is_primary():
      self._join()
      self._ended = threading.Event()
      self._sealing = threading.Thread(
        target=integrity.seal,
        args=(folder.of_step(self._workdir, step), self._ended),
        daemon=True,
      )
      self._sealing.start()

  def check(self) -> None:
    """Raises DiskError if a save that was started has failed; never waits."""
    if self._unchecked and not self._manager.is_saving_in_progress():
      self._unchecked = False
      with self._writing():
        self._manager.wait_until_finished()

  def _save(self, step: int, meta: Mapping, items: Mapping[str, Any]) -> None:
    self._saving, self._unchecked = step, True
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

  @contextlib.contextmanager
  def _writing(self, step: int | None = None) -> Iterator[None]:
    """Turns what a full or broken disk leads to into a DiskError."""
    try:
      yield
    except Exception as error:
      reason = disk_failure(error)
      if reason is None:
        raise
      failed = self._saving if step is None else step
      raise errors.unwritable(
        f"the checkpoint of step {failed}", self._workdir, reason
      ) from error

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
      with self._writing():
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
