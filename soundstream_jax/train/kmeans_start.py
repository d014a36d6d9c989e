"""K-means start: codebooks are fitted to the first batches before step 1."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from soundstream_jax import config as config_lib
from soundstream_jax import errors, rng
from soundstream_jax.devices import sharding
from soundstream_jax.model import codebook, soundstream
from soundstream_jax.train import state as state_lib


def num_frames(config: config_lib.Config) -> int:
  """Frames that k-means sees."""
  per_batch = config.batch_size * config.rates.num_frames(
    config.data.crop_samples
  )
  return config.quantizer.kmeans_batches * per_batch


def check(config: config_lib.Config) -> None:
  """Refuses fewer frames than codes.

  Raises:
    InputError: with the numbers and the number of batches that suffices.
  """
  frames, size = num_frames(config), config.quantizer.codebook_size
  if frames < size:
    batches = config.quantizer.kmeans_batches
    needed = -(-size * batches // frames)
    raise errors.InputError(
      f"quantizer.kmeans_batches={batches} gives k-means {frames} frames for "
      f"{size} codes (batch_size={config.batch_size}, data.crop_samples="
      f"{config.data.crop_samples}). Use quantizer.kmeans_batches={needed} or "
      "more; 16 frames per code are better."
    )


def initialise(
  config: config_lib.Config,
  mesh: Mesh,
  state: state_lib.TrainState,
  batches: Iterable[jax.Array],
) -> state_lib.TrainState:
  """Returns the state with codebooks fitted to the encoder's latents.

  Layer by layer: every codebook is fitted to the residuals that the layers
  before it leave.

  Args:
    config: what to train.
    mesh: of the run.
    state: fresh.
    batches: quantizer.kmeans_batches global batches [B, T, 1].
  """
  check(config)
  net = soundstream.from_config(config, platform=sharding.platform(mesh))
  encode = jax.jit(
    lambda params, audio: net.apply(
      soundstream.variables(params, state.codebooks.vectors),
      audio,
      method="encode",
    ),
    out_shardings=sharding.batch(mesh),
  )
  latents = tuple(encode(state.params, audio) for audio in batches)
  q = config.quantizer

  def fit(latents):
    frames = jnp.concatenate(latents).reshape(-1, latents[0].shape[-1])
    return codebook.kmeans_layers(
      frames,
      rng.stream(rng.root(config.seed), "kmeans", 0),
      num_quantizers=q.num_quantizers,
      size=q.codebook_size,
      iterations=q.kmeans_iterations,
      frames_per_batch=frames.shape[0] / q.kmeans_batches,
    )

  shardings = sharding.of_tree(jax.eval_shape(fit, latents), mesh)
  return state.replace(codebooks=jax.jit(fit, out_shardings=shardings)(latents))
