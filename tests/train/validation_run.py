"""Measures fixed clips with fresh weights, for test_validation to compare.

Also a program, so that real processes can do it together:

    python validation_run.py FILE.json PROCESS_ID
"""

import json
import pathlib
import sys

import jax
import numpy as np
import together

from soundstream_jax import config as config_lib
from soundstream_jax.devices import distributed, joining
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib
from soundstream_jax.train import validation

CLIPS = 11


def clips(config: config_lib.Config) -> np.ndarray:
  """Returns noise [CLIPS, T, 1], no clip as loud as another."""
  shape = (CLIPS, config.evaluation.clip_samples, 1)
  noise = np.random.default_rng(1).normal(size=shape)
  loudness = np.linspace(0.05, 0.3, CLIPS)[:, None, None]
  return (loudness * noise).astype(np.float32)


def fresh(config: config_lib.Config, mesh) -> state_lib.TrainState:
  """Returns the state of the seed, with codebooks drawn as large as latents."""
  _, (abstract, _) = step_lib.build(config, mesh, adversarial=False)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
  state = state_lib.init(config, shardings)
  like = abstract.codebooks.vectors
  vectors = np.random.default_rng(2).normal(size=like.shape, scale=0.1)
  vectors = state_lib.place(vectors.astype(np.float32), like.sharding)
  return state.replace(codebooks=state.codebooks.replace(vectors=vectors))


@together.small_arrays_are_split()
def run(config: config_lib.Config) -> tuple[validation.Found, int]:
  """Returns what is found, and how many clips were taken at a time."""
  devices = jax.devices()
  if jax.process_count() == 1:
    devices = devices[: config.mesh.data * config.mesh.fsdp]
  mesh = distributed.make_mesh(config.mesh, devices)
  validate = validation.build(config, clips(config), mesh)
  return validate.measure(fresh(config, mesh)), validate.rows


def main():
  task = json.loads(pathlib.Path(sys.argv[1]).read_text())
  process = int(sys.argv[2])
  joining.initialize(
    coordinator=task["coordinator"], num_processes=2, process_id=process
  )
  found, _ = run(config_lib.from_dict(task["config"]))
  np.savez(
    f"{task['out']}-{process}.npz",
    codes=found.codes,
    shown=found.shown,
    **found.values,
  )


if __name__ == "__main__":
  main()
