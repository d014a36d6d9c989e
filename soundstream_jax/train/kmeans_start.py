"""K-means start: codebooks are fitted to the first batches before step 1.

Or drawn at random, where a configuration asks for no batches; or fixed, where the
kind of quantizer learns none.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import precision, rng
from soundstream_jax.devices import sharding
from soundstream_jax.model import codebook, kmeans, quantizers, soundstream
from soundstream_jax.settings import constraints
from soundstream_jax.train import state as state_lib

num_frames = constraints.kmeans_frames
num_batches = constraints.kmeans_batches
check = constraints.check_kmeans
_frames_per_clip = constraints.kmeans_frames_per_clip


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
    batches: `num_batches` global batches [B, T, 1], taken one at a time; of
      none the codebooks are random.
    layers: the first of them that stay as they are; the others are fitted to
      the residuals of these.
  """
  check(config)
  if not quantizers.of(config.quantizer).learns:
    return _fixed(config, mesh, state)
  if not config.quantizer.kmeans_batches:
    return _random(config, mesh, state, layers=layers)
  encode, _ = build_encode(config, mesh)
  frames = tuple(
    encode(state.params, audio, np.int32(number))
    for number, audio in enumerate(batches)
  )
  fit, _ = build(config, mesh, layers=layers)
  quantizer = state.params.get("quantizer", {})
  return state.replace(codebooks=fit(frames, state.codebooks, quantizer))


def build_encode(config: config_lib.Config, mesh: Mesh):
  """Builds the program that hears what k-means is fitted to.

  Args:
    config: what to train; its codebooks are learnt.
    mesh: of the run.

  Returns:
    (encode, (params, audio, number)): the jitted function (params, audio
    [B, T, 1], int32 number of the batch) -> frames [B, f, D], of every clip
    as many, at random, in their order; and its abstract arguments with their
    shardings. Frames stay where their clip is, and which they are depends on
    the seed and on a clip's row alone.
  """
  net = soundstream.from_config(config, platform=sharding.platform(mesh))
  place = sharding.batch(mesh)

  def encode(params, audio, number):
    vectors = codebook.zeros(config).vectors  # which an encoder does not read
    variables = soundstream.variables(params, vectors)
    latents = net.apply(variables, audio, method="encode")
    count = min(_frames_per_clip(config), latents.shape[1])
    if count == latents.shape[1]:
      return latents
    key = rng.stream(rng.root(config.seed), "kmeans_frames", number)
    noise = jax.random.uniform(key, latents.shape[:2])
    noise = lax.with_sharding_constraint(noise, place)
    # Not `top_k`, for which the devices would exchange the noise.
    chosen = jnp.sort(jnp.argsort(noise, axis=-1)[:, :count], axis=-1)
    return jnp.take_along_axis(latents, chosen[..., None], axis=1)

  params = _abstract(state_lib.abstract(config).params, mesh)
  audio = jax.ShapeDtypeStruct(
    (config.batch_size, config.data.crop_samples, 1),
    precision.of_parameters(config.model.compute_dtype),
    sharding=place,
  )
  number = jax.ShapeDtypeStruct(
    (), jnp.int32, sharding=sharding.replicated(mesh)
  )
  return jax.jit(encode, out_shardings=place), (params, audio, number)


def build(config: config_lib.Config, mesh: Mesh, *, layers: int = 0):
  """Builds the program that fits codebooks to frames.

  Args:
    config: what to train; its codebooks are learnt, by k-means.
    mesh: of the run.
    layers: of `initialise`.

  Returns:
    (fit, (frames, codebooks, params)): the jitted function (what
    `build_encode`'s returns for each batch, codebooks, the quantizer's
    parameters) -> codebooks; and its abstract arguments with their shardings.
    Frames and residuals stay split over the devices: these add up counts and
    sums, and share the seeds.
  """
  q = config.quantizer
  place = sharding.batch(mesh)
  per_batch = config.batch_size * config.rates.num_frames(
    config.data.crop_samples
  )

  def fit(frames, codebooks, params):
    # By clip, then by batch: a clip's frames are on one device already.
    frames = jnp.stack(frames, axis=1)
    frames = frames.reshape(-1, frames.shape[-1])
    fitted = kmeans.fit_layers(
      lax.with_sharding_constraint(frames, place),
      rng.stream(rng.root(config.seed), "kmeans", 0),
      params,
      kind=quantizers.of(q),
      num_quantizers=q.num_quantizers,
      size=q.codebook_size,
      iterations=q.kmeans_iterations,
      frames_per_batch=per_batch,
      before=codebooks.vectors[:layers] if layers else None,
    )
    # Split at the very end: else every layer's centres would be.
    fitted = lax.with_sharding_constraint(fitted, sharding.replicated(mesh))
    return _after(codebooks, fitted, layers)

  state = state_lib.abstract(config)
  codebooks = _abstract(state.codebooks, mesh)
  params = _abstract(state.params.get("quantizer", {}), mesh)
  heard = jax.ShapeDtypeStruct(
    (
      config.batch_size,
      _frames_per_clip(config),
      config.model.embedding_dim,
    ),
    codebooks.vectors.dtype,
    sharding=place,
  )
  out = jax.tree.map(lambda leaf: leaf.sharding, codebooks)
  arguments = (heard,) * q.kmeans_batches, codebooks, params
  return jax.jit(fit, out_shardings=out), arguments


def _abstract(tree, mesh: Mesh):
  """Returns a state's shapes with their shardings."""
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    tree,
    sharding.of_tree(tree, mesh),
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
