"""A few training steps on one topology, for test_topology to compare.

Also a program, so that real processes can do it together:

    python topology_run.py FILE.json PROCESS_ID
"""

import json
import pathlib
import sys

import jax
import numpy as np
import together

from soundstream_jax import config as config_lib
from soundstream_jax import precision
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.devices import distributed, joining, sharding
from soundstream_jax.model import soundstream
from soundstream_jax.train import kmeans_start
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib


@together.small_arrays_are_split()
def run(
  config: config_lib.Config,
  *,
  steps: int,
  start: dict | None = None,
  hiss: float = 0.0,
  draws: int = 1,
) -> dict[str, np.ndarray]:
  """Trains and returns what can be compared, by name.

  Args:
    config: clip_norm 0, so that Adam's first moments show the gradients.
    steps: how many.
    start: the arrays `start/...` of another run; None begins with k-means.
    hiss: noise that is added to every batch, so that none of it is silent.
    draws: from one start as often, with other noise each time; what the second
      draw found is named `draw1/metrics/0/...`, and so on.
  """
  devices = jax.devices()
  if jax.process_count() == 1:
    devices = devices[: config.mesh.data * config.mesh.fsdp]
  mesh = distributed.make_mesh(config.mesh, devices)
  step, (abstract, batch) = step_lib.build(config, mesh)
  audio = batch.audio
  everywhere = sharding.replicated(mesh)
  gather = jax.jit(lambda tree: tree, out_shardings=everywhere)
  net = soundstream.from_config(config)

  @jax.jit
  def encode(state, x):
    variables = soundstream.variables(state.params, state.codebooks.vectors)
    output = net.apply(variables, x)
    return jax.lax.with_sharding_constraint(
      (output.latents, output.codes), everywhere
    )

  rows = sharding.process_rows(audio.sharding, config.batch_size)
  dtype = precision.of_parameters(config.model.compute_dtype)
  with loader_lib.train_loader(config, rows=rows) as batches:
    local = [next(batches).audio.astype(dtype) for _ in range(steps)]

  def feed(draw):
    noise = np.random.default_rng(draw).normal(size=audio.shape)[list(rows)]
    return [
      sharding.global_batch(
        audio.sharding,
        config.batch_size,
        (batch + hiss * noise).astype(dtype),
      )
      for batch in local
    ]

  found = {"rows": np.asarray(rows), "local": np.stack(local)}
  if start is None:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    state = state_lib.init(config, shardings)
    state = kmeans_start.initialise(config, mesh, state, feed(0)[:1])
    start = _named("start", gather(state))
  found |= start
  for draw in range(draws):
    state = jax.tree_util.tree_map_with_path(
      lambda path, leaf: state_lib.place(
        start["start" + jax.tree_util.keystr(path)], leaf.sharding
      ),
      abstract,
    )
    prefix = f"draw{draw}/" if draw else ""
    for number, batch in enumerate(feed(draw)):
      latents, codes = encode(state, batch)
      state, metrics = step(state, batch_lib.Batch(batch))
      one = {f"metrics/{number}/{k}": v for k, v in metrics.items()}
      if number == 0:
        one |= _gradients(config, gather, state)
      if not draw:
        one[f"latents/{number}"] = latents
        one[f"codes/{number}"] = codes
        one[f"counts/{number}"] = gather(state.codebooks.counts)
        one[f"vectors/{number}"] = _copies(gather, state.codebooks.vectors)
      found |= {prefix + k: np.asarray(v) for k, v in one.items()}
  split = [
    leaf for leaf in jax.tree.leaves(state) if not leaf.is_fully_replicated
  ]
  found["split"] = np.asarray(len(split))
  return found


def _gradients(config, gather, state):
  """After one step from zero a moment is (1 - beta1) gradients."""
  return {
    path: moment / (1 - config.optimizer.beta1)
    for name, moments in (
      ("generator", state.opt_state),
      ("discriminator", state.disc_opt_state),
    )
    for path, moment in _named(
      f"gradient/{name}", gather(moments[0][0].mu)
    ).items()
  }


def _copies(gather, vectors):
  """Every device's own copy, or the whole where no device holds one."""
  return np.stack(
    [
      np.asarray(shard.data)
      for shard in vectors.addressable_shards
      if shard.data.shape == vectors.shape
    ]
    or [np.asarray(gather(vectors))]
  )


def _named(prefix, tree):
  return {
    prefix + jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def main():
  task = json.loads(pathlib.Path(sys.argv[1]).read_text())
  process = int(sys.argv[2])
  jax.config.update("jax_enable_x64", task["x64"])
  joining.initialize(
    coordinator=task["coordinator"],
    num_processes=2,
    process_id=process,
  )
  start = dict(np.load(task["start"])) if task["start"] else None
  found = run(
    config_lib.from_dict(task["config"]),
    steps=task["steps"],
    start=start,
    hiss=task["hiss"],
    draws=task["draws"],
  )
  np.savez(f"{task['out']}-{process}.npz", **found)


if __name__ == "__main__":
  main()
