"""The state of a run: arrays only, so that it shards, saves and compares."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import rng
from soundstream_jax.convolution import methods
from soundstream_jax.model import (
  codebook,
  discriminator,
  initialise,
  soundstream,
)
from soundstream_jax.train import balance, optimizer


@flax.struct.dataclass
class TrainState:
  step: jax.Array  # int32, finished steps
  bad_steps: jax.Array  # int32, steps skipped in a row
  data_offset: jax.Array  # int32, the next batch is step + data_offset
  rollback_count: jax.Array  # int32, returns to an earlier checkpoint so far
  params: Any  # generator
  ema_params: Any  # their moving average
  codebooks: codebook.Codebooks
  opt_state: Any
  disc_params: Any
  disc_opt_state: Any
  # Averages of losses/balancer.py; None, no leaf at all, without loss.balancer.
  balancer: Any = None


def abstract(config: config_lib.Config) -> TrainState:
  """Returns the shapes of a state; nothing is computed."""
  return jax.eval_shape(
    lambda params, disc_params: _assemble(config, params, disc_params),
    nn.meta.unbox(soundstream.declare(config)),
    nn.meta.unbox(_declare_discriminators(config)),
  )


def init(config: config_lib.Config, shardings: TrainState) -> TrainState:
  """Returns step 0, codebooks still zero, born on its shardings.

  The same numbers for any number of devices or processes: drawn on the host
  from the seed, of which every device receives its piece.
  """
  root = rng.root(config.seed)
  params = initialise.draw(
    soundstream.declare(config), rng.stream(root, "generator_init", 0)
  )
  disc_params = initialise.draw(
    _declare_discriminators(config), rng.stream(root, "discriminator_init", 0)
  )
  # Everything that is not drawn starts at zero: steps, codebooks, moments.
  state = jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract(config)
  ).replace(params=params, ema_params=params, disc_params=disc_params)
  return jax.tree.map(place, state, shardings)


def _assemble(config, params, disc_params) -> TrainState:
  generator_optimizer, discriminator_optimizer = optimizer.build(config)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    bad_steps=jnp.zeros((), jnp.int32),
    data_offset=jnp.zeros((), jnp.int32),
    rollback_count=jnp.zeros((), jnp.int32),
    params=params,
    ema_params=params,
    codebooks=codebook.zeros(config),
    opt_state=generator_optimizer.init(params),
    disc_params=disc_params,
    disc_opt_state=discriminator_optimizer.init(disc_params),
    balancer=balance.start(config),
  )


def _declare_discriminators(config: config_lib.Config) -> dict:
  if not config.discriminator.exists:
    return {}
  audio = jax.ShapeDtypeStruct((1, config.data.crop_samples, 1), jnp.float32)
  return jax.eval_shape(
    discriminator_module(config).init, jax.random.key(0), audio
  )["params"]


def place(array: np.ndarray, sharding) -> jax.Array:
  """Puts an array that every process holds whole onto a sharding."""
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index]
  )


def discriminator_module(
  config: config_lib.Config, *, platform: str | None = None
) -> discriminator.Discriminator:
  """Returns the discriminators of a configuration, for a platform or here."""
  return discriminator.Discriminator(
    config.discriminator,
    dtype=jnp.dtype(config.dtype_in_training),
    rematerialise=config.rematerialise,
    method=methods.choose(config.form, platform),
  )


@jax.jit
def snapshot(state: TrainState) -> TrainState:
  """Copies a state on its devices, so that the next step may have the state."""
  return jax.tree.map(jnp.copy, state)


def to_items(state: TrainState) -> dict[str, Any]:
  """Splits a state into the items of a checkpoint."""
  averages = {} if state.balancer is None else {"balancer": state.balancer}
  return {
    "params": state.params,
    "ema_params": state.ema_params,
    "codebooks": state.codebooks,
    "trainer": {
      "step": state.step,
      "bad_steps": state.bad_steps,
      "data_offset": state.data_offset,
      "rollback_count": state.rollback_count,
      "opt_state": state.opt_state,
      "disc_params": state.disc_params,
      "disc_opt_state": state.disc_opt_state,
      **averages,
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
