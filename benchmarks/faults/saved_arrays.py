"""Every array of a checkpoint, to compare runs bit by bit."""

import pathlib
from collections.abc import Mapping

import numpy as np


def read(workdir: pathlib.Path, step: int) -> dict[str, np.ndarray]:
  """Returns the arrays of a saved step by their paths."""
  import jax
  import orbax.checkpoint as ocp

  found = {}
  reader = ocp.PyTreeCheckpointer()
  folder = workdir.absolute() / "checkpoints" / str(step)
  for item in ("params", "ema_params", "codebooks", "trainer"):
    # As numpy arrays, on whatever devices they were saved.
    kinds = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
      reader.metadata(folder / item).item_metadata.tree,
    )
    tree = reader.restore(folder / item, restore_args=kinds)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
  return found


def difference(
  one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]
) -> str | None:
  """Returns where two checkpoints differ first, None if in no bit."""
  if one.keys() != other.keys():
    return f"arrays: {sorted(one.keys() ^ other.keys())[:3]}"
  for name, array in one.items():
    if array.tobytes() != other[name].tobytes():
      return name
  return None
