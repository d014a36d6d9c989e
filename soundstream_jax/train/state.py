"""The state of a run: arrays only, so that it shards, saves and compares."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax import config as config_lib
from soundstream_jax import rng
from soundstream_jax.model import codebook, discriminator, soundstream
from soundstream_jax.train import optimizer


@flax.struct.dataclass
class TrainState:
  step: jax.Array  # int32, finished steps; also the data position
  bad_steps: jax.Array  # int32, steps skipped in a row
  params: Any  # generator
  ema_params: Any  # their moving average
  codebooks: codebook.Codebooks
  opt_state: Any
  disc_params: Any
  disc_opt_state: Any


def init(config: config_lib.Config) -> TrainState:
  """Returns step 0, codebooks still zero. A pure function of the config."""
  root = rng.root(config.seed)
  params = soundstream.init(config, rng.stream(root, "generator_init", 0))
  disc_params = discriminator_module(config).init(
    rng.stream(root, "discriminator_init", 0),
    jnp.zeros((1, config.data.crop_samples, 1)),
  )["params"]
  generator_optimizer, discriminator_optimizer = optimizer.build(
    config.optimizer
  )
  dtype = jnp.promote_types(config.model.compute_dtype, jnp.float32)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    bad_steps=jnp.zeros((), jnp.int32),
    params=params,
    ema_params=jax.tree.map(jnp.copy, params),
    codebooks=codebook.zeros(
      config.quantizer.num_quantizers,
      config.quantizer.codebook_size,
      config.model.embedding_dim,
      dtype,
    ),
    opt_state=generator_optimizer.init(params),
    disc_params=disc_params,
    disc_opt_state=discriminator_optimizer.init(disc_params),
  )


def discriminator_module(
  config: config_lib.Config,
) -> discriminator.Discriminator:
  """Returns the discriminators that a configuration describes."""
  return discriminator.Discriminator(
    config.discriminator, dtype=jnp.dtype(config.model.compute_dtype)
  )


def to_items(state: TrainState) -> dict[str, Any]:
  """Splits a state into the items of a checkpoint."""
  return {
    "params": state.params,
    "ema_params": state.ema_params,
    "codebooks": state.codebooks,
    "trainer": {
      "step": state.step,
      "bad_steps": state.bad_steps,
      "opt_state": state.opt_state,
      "disc_params": state.disc_params,
      "disc_opt_state": state.disc_opt_state,
    },
  }


def from_items(items: dict[str, Any]) -> TrainState:
  """The inverse of `to_items`."""
  return TrainState(
    params=items["params"],
    ema_params=items["ema_params"],
    codebooks=items["codebooks"],
    **items["trainer"],
  )
