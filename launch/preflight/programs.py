"""Programs of a training run, lowered for devices that are elsewhere.

Each is the very object that training calls, with the shapes of its arguments.
"""

import dataclasses
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.launch.preflight import topologies
from soundstream_jax.settings import constraints

# Name to its title. A run without discriminators has no step with them.
TITLES = {
  "step": "step with discriminators",
  "step_without_discriminators": "step before the discriminators start",
  "kmeans_latents": "k-means: the latents of one batch",
  "kmeans_fit": "k-means: all layers fitted to all latents",
  "evaluation_encode": "evaluation: clips to codes",
  "evaluation_decode": "evaluation: codes to sound",
}

# What may be asked for besides, for several at once.
GROUPS = {
  "kmeans": ("kmeans_latents", "kmeans_fit"),
  "evaluation": ("evaluation_encode", "evaluation_decode"),
  "all": tuple(TITLES),
}


@dataclasses.dataclass(frozen=True)
class Program:
  """A program, and what a run keeps in memory beside it."""

  name: str  # of TITLES
  lowered: Any  # what jax's lower() returns
  devices: int
  examples: int  # that one run takes, over all devices
  samples: int  # of each
  state: Any  # abstract, of the whole run
  kept_bytes: int  # of the state, per device, that are no argument of it


def names(config: config_lib.Config, asked: list[str]) -> list[str]:
  """Returns the programs that are asked for, in the order of TITLES.

  `all` are those that a run of this configuration needs.

  Raises:
    InputError: no such program, or a run of the configuration has none such.
  """
  known = [*TITLES, *GROUPS]
  needed, wanted = _needed(config), set()
  for name in asked:
    if name not in known:
      raise errors.InputError(
        f"--program={name}: {name!r} is none of {', '.join(known)}."
        f"{errors.nearest(name, known)}"
      )
    if name == "step" and name not in needed:
      name = "step_without_discriminators"  # as `step_lib.build` does
    ones = GROUPS.get(name, (name,))
    if name == "all":
      ones = needed
    elif not name.startswith("step") and ones[0] not in needed:
      raise errors.InputError(
        f"--program={name}: a run of this configuration has none, as it has "
        "no k-means or no held-out clips. Use --program=all for those it has."
      )
    wanted.update(ones)
  if not wanted:
    raise errors.InputError("--program= names none. Use --program=step.")
  return [name for name in TITLES if name in wanted]


def _needed(config: config_lib.Config) -> list[str]:
  found = []
  if config.discriminator.exists:
    found.append("step")
  if config.discriminator.start_step or not found:
    found.append("step_without_discriminators")
  if constraints.kmeans_batches(config):
    found += GROUPS["kmeans"]
  if config.evaluation.num_clips:
    found += GROUPS["evaluation"]
  return found


def lower(
  config: config_lib.Config, topology: topologies.Topology, name: str
) -> Program:
  """Lowers a program of TITLES for the devices of a topology."""
  from soundstream_jax.devices import distributed
  from soundstream_jax.train import step as step_lib

  mesh = distributed.make_mesh(config.mesh, topologies.devices(topology))
  adversarial = name != "step_without_discriminators"
  step, (state, batch) = step_lib.build(config, mesh, adversarial=adversarial)
  examples, samples = config.batch_size, config.data.crop_samples
  beside = _per_device(state)
  if name.startswith("step"):
    lowered, beside = step.lower(state, batch), 0
  elif name.startswith("kmeans"):
    lowered, given, batches = _kmeans(config, mesh, name)
    examples *= batches
    beside -= _per_device(given)
  else:
    lowered, given, examples = _evaluation(config, mesh, state, name)
    samples = config.evaluation.clip_samples
    beside -= _per_device(given)
  return Program(
    name=name,
    lowered=lowered,
    devices=mesh.size,
    examples=examples,
    samples=samples,
    state=state,
    kept_bytes=beside,
  )


def _kmeans(config, mesh, name):
  """Returns (lowered, its arguments of the state, batches that it takes)."""
  from soundstream_jax.train import kmeans_start

  if name == "kmeans_latents":
    encode, (params, audio, number) = kmeans_start.build_encode(config, mesh)
    return encode.lower(params, audio, number), params, 1
  fit, (frames, *given) = kmeans_start.build(config, mesh)
  return fit.lower(frames, *given), given, len(frames)


def _evaluation(config, mesh, state, name):
  """Returns (lowered, its arguments of the state, clips that it takes)."""
  import jax

  from soundstream_jax.devices import sharding
  from soundstream_jax.train import validation

  shape = config.evaluation.num_clips, config.evaluation.clip_samples, 1
  validate = validation.build(
    config, np.broadcast_to(np.float32(0), shape), mesh
  )
  batch = sharding.batch(mesh)
  clips = jax.ShapeDtypeStruct(
    (validate.rows, *shape[1:]), np.float32, sharding=batch
  )
  weights = state.ema_params, state.codebooks.vectors
  if name == "evaluation_encode":
    return validate.encode.lower(*weights, clips), weights, validate.rows
  codes, _ = jax.eval_shape(validate.encode, *weights, clips)
  depth = jax.ShapeDtypeStruct((), np.int32)
  lowered = validate.decode.lower(*weights, _placed(codes, batch), depth)
  return lowered, weights, validate.rows


def _placed(abstract, place):
  import jax

  return jax.ShapeDtypeStruct(abstract.shape, abstract.dtype, sharding=place)


def _per_device(tree) -> int:
  """Bytes that one device holds of a tree of shapes with shardings."""
  import jax

  return sum(
    int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )
