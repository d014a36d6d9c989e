"""Random models for tests, and what equal codes means."""

import math

import flax.linen as nn
import jax
import numpy as np

from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.model import quantizers, soundstream


def random_codec(config):
  """Returns (Codec, params, vectors): all random, codebooks that get finer."""
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: random.normal(
      size=leaf.shape, scale=math.prod(leaf.shape[:-1]) ** -0.5
    ).astype(np.float32),
    nn.meta.unbox(soundstream.declare(config)),
  )
  shape = quantizers.codebooks_shape(config)
  scale = 0.5 ** np.arange(shape[0]).reshape(-1, 1, 1)
  vectors = (scale * random.normal(size=shape)).astype(np.float32)
  fixed = quantizers.of(config.quantizer).fixed()
  if fixed is not None:
    vectors = np.stack([fixed] * shape[0])
  codec = codec_lib.Codec(config, params, vectors, step=5, weights="ema")
  return codec, params, vectors


def differ_at_near_ties_only(
  codes, expected, latents, vectors, params=None, *, kind=None
):
  """Checks codes [F, Q] that were computed in another way than expected.

  Where they first differ in a frame, the distances of the two codes agree to
  1e-5; after that the residuals are others. The codes are of 'ema', or of
  another kind with its parameters.
  """
  kind = kind or quantizers.KINDS["ema"]()

  def layer(index):
    return {name: p[index] for name, p in (params or {}).items()}

  differing = np.flatnonzero((codes != expected).any(axis=1))
  print(f"{len(differing)} of {len(codes)} frames differ")
  for frame in differing:
    first = int(np.flatnonzero(codes[frame] != expected[frame])[0])
    residual = latents[frame] - sum(
      kind.leave(layer(i), vectors[i, expected[frame, i]]) for i in range(first)
    )
    entered = kind.placed(kind.enter(layer(first), residual))
    apart = entered[None] - kind.placed(vectors[first])
    distances = np.square(apart).sum(axis=-1)
    one = distances[codes[frame, first]]
    other = distances[expected[frame, first]]
    assert abs(one - other) <= 1e-5 * max(one, other)
