"""K-means start: codebooks are fitted to the first batches before step 1.

Or drawn at random, where a configuration asks for no batches; or fixed, where the
kind of quantizer learns none.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import rng
from soundstream_jax.devices import sharding
from soundstream_jax.model import codebook, quantizers, soundstream
from soundstream_jax.settings import constraints
from soundstream_jax.train import state as state_lib

num_frames = constraints.kmeans_frames
num_batches = constraints.kmeans_batches
check = constraints.check_kmeans


def initialise(
  config: config_lib.Config,
  mesh: Mesh,
  state: state_lib.TrainState,
  batches: Iterable[jax.Array],
  *,
  layers: int = 0,
) -> state_lib.TrainState:
  """Returns the state with codebooks fitted to the encoder's latents.

  Layer by layer: every codebook is fitted to the residuals that the layers
  before it leave.

  Args:
    config: what to train.
    mesh: of the run.
    state: fresh.
    batches: `num_batches` global batches [B, T, 1]; of none the codebooks are
      random.
    layers: the first of them that stay as they are; the others are fitted to
      the residuals of these.
  """
  check(config)
  if not quantizers.of(config.quantizer).learns:
    return _fixed(config, mesh, state)
  if not config.quantizer.kmeans_batches:
    return _random(config, mesh, state, layers=layers)
  encode, fit = programs(config, mesh, state, layers=layers)
  params, codebooks = state.params, state.codebooks
  latents = tuple(encode(params, codebooks.vectors, audio) for audio in batches)
  fitted = fit(latents, codebooks, params.get("quantizer", {}))
  return state.replace(codebooks=fitted)


def programs(
  config: config_lib.Config,
  mesh: Mesh,
  state: state_lib.TrainState,
  *,
  layers: int = 0,
):
  """Returns the jitted functions that `initialise` calls, (encode, fit).

  Args:
    config: what to train.
    mesh: of the run.
    state: of the run; its shapes are enough.
    layers: as for `initialise`.

  Returns:
    encode: (params, vectors, audio [B, T, 1]) -> latents [B, F, D].
    fit: (latents of all batches, codebooks, the quantizer's parameters) ->
      codebooks.
  """
  net = soundstream.from_config(config, platform=sharding.platform(mesh))

  def encode(params, vectors, audio):
    variables = soundstream.variables(params, vectors)
    return net.apply(variables, audio, method="encode")

  q = config.quantizer

  def fit(latents, codebooks, params):
    frames = jnp.concatenate(latents).reshape(-1, latents[0].shape[-1])
    fitted = codebook.kmeans_layers(
      frames,
      rng.stream(rng.root(config.seed), "kmeans", 0),
      params,
      kind=quantizers.of(q),
      num_quantizers=q.num_quantizers,
      size=q.codebook_size,
      iterations=q.kmeans_iterations,
      frames_per_batch=frames.shape[0] / q.kmeans_batches,
      before=codebooks.vectors[:layers] if layers else None,
    )
    return _after(codebooks, fitted, layers)

  return (
    jax.jit(encode, out_shardings=sharding.batch(mesh)),
    jax.jit(fit, out_shardings=sharding.of_tree(state.codebooks, mesh)),
  )


def _fixed(
  config: config_lib.Config, mesh: Mesh, state: state_lib.TrainState
) -> state_lib.TrainState:
  """Returns the state with codebooks that stay as they are."""

  def make():
    return codebook.fixed(state.codebooks, quantizers.of(config.quantizer))

  shardings = sharding.of_tree(jax.eval_shape(make), mesh)
  return state.replace(codebooks=jax.jit(make, out_shardings=shardings)())


def _random(
  config: config_lib.Config,
  mesh: Mesh,
  state: state_lib.TrainState,
  *,
  layers: int,
) -> state_lib.TrainState:
  """Returns the state with codebooks that no audio was looked at for."""
  frames = config.batch_size * config.rates.num_frames(config.data.crop_samples)

  def draw(codebooks):
    drawn = codebook.random(
      codebooks,
      rng.stream(rng.root(config.seed), "random_codebooks", 0),
      frames_per_batch=frames,
    )
    others = jax.tree.map(lambda leaf: leaf[layers:], drawn)
    return _after(codebooks, others, layers)

  shardings = sharding.of_tree(jax.eval_shape(draw, state.codebooks), mesh)
  return state.replace(
    codebooks=jax.jit(draw, out_shardings=shardings)(state.codebooks)
  )


def _after(
  kept: codebook.Codebooks, others: codebook.Codebooks, layers: int
) -> codebook.Codebooks:
  """Returns the first layers of `kept`, and all of the others after them."""
  if not layers:
    return others
  return jax.tree.map(
    lambda old, new: jnp.concatenate([old[:layers], new]), kept, others
  )
