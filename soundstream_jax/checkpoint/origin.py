"""The origin of a run: arrays of another one that it begins with.

Of a workdir, or of a folder that `soundstream export` wrote. Optimizer states
are not among them: they belong to the steps that made them.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths
from soundstream_jax.checkpoint import (
  exported,
  folder,
  mistaken,
  training_file,
  weights,
)


@dataclasses.dataclass(frozen=True)
class Origin:
  """Arrays of another run, on the host; parameters are nested mappings."""

  config: config_lib.Config
  step: int
  ema: Mapping[str, Any]  # the generator's averaged parameters
  raw: Mapping[str, Any] | None  # those that are trained, where it has them
  vectors: np.ndarray  # [Q, K, D] of the codebooks
  # `counts` [Q, K] and `sums` [Q, K, D], where it has them.
  statistics: Mapping[str, np.ndarray] | None
  discriminators: Mapping[str, Any]  # by network; empty where it has none


def check(path: str | os.PathLike, *, field: str = "") -> config_lib.Config:
  """Returns the configuration of an origin that can be read.

  Args:
    path: a workdir, whose newest checkpoint it is, or an exported folder.
    field: before the path in errors, as in "init_from=".

  Raises:
    InputError: there is none, or it is damaged or of another format.
  """
  paths.readable(f"{field}{path}", path)
  if exported.is_exported(path):
    return read(path).config
  present = folder.steps(path)
  if not present:
    raise mistaken.error(path, field=field)
  meta = folder.read_meta(path, present[-1])
  weights.check_undamaged(path, present[-1], folder.ITEMS)
  return config_lib.from_dict(meta["config"])


def step_of(path: str | os.PathLike) -> int:
  """Returns the step of an origin that `check` has passed."""
  if exported.is_exported(path):
    return exported.step_of(path)
  return folder.steps(path)[-1]


def read(path: str | os.PathLike, *, step: int | None = None) -> Origin:
  """Reads an origin; nothing is written there.

  Args:
    path: a workdir, or an exported folder.
    step: of the checkpoint; an exported model must be of it. None takes the
      newest.

  Raises:
    InputError: there is none, or it is damaged or of another format.
  """
  if exported.is_exported(path):
    return _of_exported(pathlib.Path(path), step)
  if step is None:
    check(path)
    step = step_of(path)
  try:
    return _of_workdir(path, step)
  except Exception:
    if not weights.is_pruned(path, step):
      raise
  raise weights.pruned(path, step)


def to_training_file(
  path: str | os.PathLike, model: exported.Exported
) -> bytes:
  """Returns the file that an export has for runs that go on from it.

  Args:
    path: the workdir, or the exported folder, that the model was read from.
    model: of it.

  Raises:
    InputError: an exported folder that has no such file.
  """
  if exported.is_exported(path) and not training_file.exists(path):
    raise errors.InputError(
      f"{path} is an exported model without {training_file.NAME}. Export its "
      "run with --with_training."
    )
  found = read(path, step=model.step)
  return training_file.to_bytes(
    model,
    params={"ema": found.raw, "raw": found.ema}[model.weights],
    statistics=found.statistics,
    discriminators=found.discriminators,
  )


def _of_exported(path: pathlib.Path, step: int | None) -> Origin:
  model = exported.read(path, step=step)
  kinds = {model.weights: model.params}
  more: dict[str, Any] = {"statistics": None, "discriminators": {}}
  if training_file.exists(path):
    more = training_file.read(path, model)
    kinds[training_file.OTHER[model.weights]] = more.pop("params")
  return Origin(
    config=model.config,
    step=model.step,
    # Those of a model of raw weights are the model, too.
    ema=kinds.get("ema", model.params),
    raw=kinds.get("raw"),
    vectors=model.vectors,
    **more,
  )


def _of_workdir(path: str | os.PathLike, step: int) -> Origin:
  weights.check_undamaged(path, step, folder.ITEMS)
  of_step = folder.of_step(path, step)
  codebooks = _read(of_step / "codebooks")
  return Origin(
    config=config_lib.from_dict(folder.read_meta(path, step)["config"]),
    step=step,
    ema=_read(of_step / "ema_params"),
    raw=_read(of_step / "params"),
    vectors=codebooks.pop("vectors"),
    statistics=codebooks,
    discriminators=_read(of_step / "trainer", "disc_params"),
  )


def _read(item: pathlib.Path, name: str | None = None) -> dict[str, Any]:
  """Reads an item of a checkpoint as numpy arrays, or a part of it.

  As they were saved, on whatever devices; the rest of the item stays unread.
  """
  handler = ocp.PyTreeCheckpointHandler()
  there = dict(handler.metadata(item).tree)
  if name is not None:
    there = {name: there[name]} if there.get(name) else {}
  if not there:
    return {}
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), there
  )
  as_numpy = jax.tree.map(
    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract
  )
  found = handler.restore(
    item,
    args=ocp.args.PyTreeRestore(
      abstract, restore_args=as_numpy, partial_restore=True
    ),
  )
  return found if name is None else found[name]
