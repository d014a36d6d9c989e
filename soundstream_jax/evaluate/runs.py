"""A run, or an exported model, as it lies on disk: to be compared with another.

Nothing is computed, and no device is used.
"""

import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths
from soundstream_jax.checkpoint import exported, folder, mistaken
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.evaluate import logs
from soundstream_jax.settings import constraints, fields

# Of a dataset's folder: all that says what is in its shards.
_OF_A_DATASET = ("dataset_info.json", "metadata.json", "features.json")
_VERSIONS = "versions.jsonl"  # a line for each start of the run
_DEEPEST = 3  # levels below the folder that is named


@dataclasses.dataclass(frozen=True)
class Run:
  """A workdir, or a folder with an exported model."""

  path: pathlib.Path
  config: dict[str, Any]  # by dotted name
  steps: list[int]  # of its checkpoints, ascending
  weights: str | None  # of an exported model, 'ema' or 'raw'
  about: dict[str, Any]  # versions that are recorded

  @property
  def is_exported(self) -> bool:
    return self.weights is not None

  def has(self, step: int) -> bool:
    """False for a checkpoint that was pruned meanwhile."""
    return self.is_exported or step in folder.steps(self.path)

  def metrics(self) -> dict[int, dict[str, Any]]:
    """Returns step -> name -> value of metrics.jsonl; a later line counts."""
    file = self.path / "metrics.jsonl"
    found: dict[int, dict[str, Any]] = {}
    for line in logs.read(file) if file.is_file() else []:
      if isinstance(line, dict) and isinstance(line.get("step"), int):
        found.setdefault(line["step"], {}).update(line)
    return found

  def datasets(self) -> dict[str, Any]:
    """Returns 'data.speech 0 digest' and so on -> value, of what is there."""
    found = {}
    for name in constraints.SOURCES:
      text = self.config.get(name) or ""
      for number, (place, weight) in enumerate(
        constraints.parse_sources(text, name=name)
      ):
        of = f"{name} {number}"
        found[f"{of} weight"] = weight
        found |= {f"{of} {k}": v for k, v in _dataset(place).items()}
    return found

  def arrays(self, step: int, *, like: "Run") -> Iterator[tuple[str, dict]]:
    """Yields (item, name -> array) of a checkpoint, item by item.

    Args:
      step: of the checkpoint; an exported model has its own alone.
      like: the other run, of which names and items are to be the same.

    Raises:
      InputError: a checkpoint that is damaged.
    """
    if self.is_exported:
      yield from self._of_files(as_run=not like.is_exported)
      return
    items = [item for item in folder.ITEMS if item != "meta"]
    if like.is_exported:
      items = [weights_lib.KINDS[like.weights], "codebooks"]
    reason = folder.damage(self.path, step, items=items)
    if reason is not None:
      raise errors.InputError(
        f"the checkpoint of step {step} in {self.path} is damaged: {reason}. "
        "Restore it, or remove it."
      )
    for item in items:
      arrays = _read(folder.of_step(self.path, step) / item)
      if like.is_exported and item == "codebooks":
        arrays = {"vectors": arrays["vectors"]}
      yield item, arrays

  def _of_files(self, *, as_run: bool) -> Iterator[tuple[str, dict]]:
    import safetensors
    from safetensors import numpy as safetensors_numpy

    path = self.path / exported.ARRAYS
    with errors.reading(str(path)):
      data = path.read_bytes()
    try:
      arrays = safetensors_numpy.load(data)
    except safetensors.SafetensorError as error:
      raise errors.InputError(
        f"{path} cannot be read ({error}). Export the model again."
      ) from None
    found: dict[str, dict] = {}
    for name, array in arrays.items():
      item, _, rest = name.partition("/")
      if as_run and item == "params":
        item = weights_lib.KINDS[self.weights]
      found.setdefault(item, {})[rest] = array
    # In a checkpoint's order.
    yield from sorted(found.items(), reverse=True)


def read(path: str) -> Run:
  """Returns what a folder holds.

  Raises:
    InputError: it is neither a run nor an exported model.
  """
  root = pathlib.Path(path)
  if not paths.readable(path, root):
    raise errors.InputError(
      f"{path}: there is no such folder. Give the workdir of a run, or an "
      "exported model."
    )
  with errors.reading(path):
    if exported.is_exported(root):
      return _exported(root)
    saved = folder.read_config(root)
    steps = folder.steps(root)
    if saved is None and steps:
      saved = folder.read_meta(root, steps[-1])["config"]
  if saved is None:
    raise mistaken.error(path)
  file = root / _VERSIONS
  lines = logs.read(file) if file.is_file() else []
  about = dict(lines[-1]) if lines else {}
  for changing in ("time", "step"):
    about.pop(changing, None)
  return Run(
    path=root,
    config=_flat(saved),
    steps=steps,
    weights=None,
    about=fields.flatten(about),
  )


def _exported(root: pathlib.Path) -> Run:
  path = root / exported.ABOUT
  try:
    about = json.loads(path.read_text())
    config, step = _flat(about.pop("config")), int(about["step"])
    weights = str(about["weights"])
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise errors.InputError(
      f"{path} is damaged ({error}). Export the model again."
    ) from None
  return Run(
    path=root, config=config, steps=[step], weights=weights, about=about
  )


def _flat(saved: dict[str, Any]) -> dict[str, Any]:
  """Returns fields by dotted name, with those that an older run lacks."""
  # One of another version has other fields.
  with contextlib.suppress(errors.InputError):
    saved = config_lib.to_dict(config_lib.from_dict(saved))
  return fields.flatten(saved)


def _dataset(place: str) -> dict[str, Any]:
  """Returns what the files beside a dataset's shards say, if it is there."""
  root = pathlib.Path(place)
  for depth in range(_DEEPEST + 1):
    pattern = os.path.join(glob.escape(place), *"*" * depth, _OF_A_DATASET[0])
    found = sorted(glob.glob(pattern))
    if found:
      root = pathlib.Path(found[0]).parent
      break
  else:
    return {"folder": "not here"}
  digest = hashlib.sha256()
  told: dict[str, Any] = {}
  for name in _OF_A_DATASET:
    path = root / name
    data = path.read_bytes() if path.is_file() else b""
    digest.update(hashlib.sha256(data).digest())
    if name == "metadata.json" and data:
      told = fields.flatten(json.loads(data))
  return {"digest": digest.hexdigest()[:16]} | told


def _read(item: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns an item's arrays as they were saved, in memory alone."""
  import jax
  import orbax.checkpoint as ocp

  with contextlib.closing(ocp.PyTreeCheckpointer()) as reader:
    kinds = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
      reader.metadata(item).item_metadata.tree,
    )
    tree = reader.restore(item, restore_args=kinds)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
