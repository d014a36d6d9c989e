"""A few steps of training from a seed, on noise, without a dataset."""

import jax
import numpy as np

from benchmarks.same_programs import cases, places


def run(name: str, *, steps: int) -> dict[str, np.ndarray]:
  """Returns every array of the last state, and each step's metrics.

  Codebooks start as those of a run do, by k-means.
  """
  c = cases.config(name, batch_size=4)
  mesh = places.find("make_mesh")(c.mesh)
  step, (abstract, batch) = places.call("build_step", c, mesh, adversarial=True)
  random = np.random.default_rng(0)

  def draw(leaf):
    values = 0.1 * random.normal(size=leaf.shape)
    return jax.device_put(values.astype(leaf.dtype), leaf.sharding)

  state = places.find("init_state")(
    c, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  heard = [draw(batch.audio) for _ in range(c.quantizer.kmeans_batches)]
  state = places.find("start_codebooks")(c, mesh, state, heard)
  # Copied: a step writes over the state that it is given.
  found = {"started": jax.tree.map(np.array, state.codebooks)}
  for number in range(1, steps + 1):
    state, metrics = step(state, jax.tree.map(draw, batch))
    found[f"metrics {number}"] = jax.device_get(metrics)
  return arrays({**jax.device_get(found), "state": jax.device_get(state)})


def arrays(tree) -> dict[str, np.ndarray]:
  """Returns path -> array, in the order of the leaves."""
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
