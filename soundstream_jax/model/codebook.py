"""How codebooks learn: moving averages, revival. Pure functions.

All of it happens where a `quantizers.kind` compares codes, in C dimensions. The
train step calls `update` and `revive` once per step with the statistics of
the global batch. With what codebooks begin is `model.kmeans`'s, or `random`.
Source: paper section III-C (exponential moving averages after VQ-VAE-2,
replacement of unused codes). Smoothing and the relative threshold are ours.
"""

import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax import config as config_lib
from soundstream_jax import precision
from soundstream_jax.model import quantizer, quantizers
from soundstream_jax.model.quantizers import kind as kind_lib

Array = jax.Array

# Laplace smoothing of the counts, so that an unused code divides by no zero.
SMOOTHING = 1e-5


@flax.struct.dataclass
class Codebooks:
  vectors: Array  # [Q, K, C] what encoder and decoder use
  counts: Array  # [Q, K] moving average of frames per code and batch
  sums: Array  # [Q, K, C] moving average of entered residuals' sum per code


def zeros(config: config_lib.Config) -> Codebooks:
  """Codebooks before k-means: all zero."""
  shape = quantizers.codebooks_shape(config)
  dtype = precision.of_parameters(config.model.compute_dtype)
  return Codebooks(
    vectors=jnp.zeros(shape, dtype),
    counts=jnp.zeros(shape[:2], dtype),
    sums=jnp.zeros(shape, dtype),
  )


def fixed(like: Codebooks, kind: kind_lib.Kind) -> Codebooks:
  """Codebooks of a kind that learns none, before anything is counted.

  Args:
    like: of the same shapes.
    kind: with vectors that are the same in every layer.
  """
  vectors = jnp.asarray(kind.fixed(), like.vectors.dtype)
  vectors = jnp.broadcast_to(vectors, like.vectors.shape)
  return jax.tree.map(jnp.zeros_like, like).replace(vectors=vectors)


def random(
  like: Codebooks, key: Array, *, frames_per_batch: float
) -> Codebooks:
  """Codebooks that know nothing of the latents: independent normal values.

  Vectors have a mean square of 2 / D per value, as of Kaiming's initialisation,
  which EnCodec's code takes where it has no k-means; the paper has k-means
  alone.

  Args:
    like: of the same shapes.
    key: draws the vectors.
    frames_per_batch: of which every code is taken to have had its share: the
      moving averages agree with the vectors.
  """
  _, size, dim = like.vectors.shape
  vectors = (2 / dim) ** 0.5 * jax.random.normal(
    key, like.vectors.shape, like.vectors.dtype
  )
  counts = jnp.full_like(like.counts, frames_per_batch / size)
  return Codebooks(
    vectors=vectors, counts=counts, sums=vectors * counts[..., None]
  )


def means(counts: Array, sums: Array) -> Array:
  """Returns sums / counts with Laplace smoothing: [Q, K], [Q, K, C] -> vectors."""
  size = counts.shape[-1]
  total = jnp.sum(counts, axis=-1, keepdims=True)
  smoothed = (counts + SMOOTHING) / (total + size * SMOOTHING) * total
  safe = jnp.where(smoothed > 0, smoothed, 1)
  return sums / safe[..., None]


def update(
  codebooks: Codebooks, statistics: quantizer.Statistics, *, decay: float
) -> Codebooks:
  """One step of the moving averages.

  A layer that no example of the batch reached (quantizer dropout) keeps all of
  its state: nothing decays that nothing was seen for.
  """
  seen = jnp.sum(statistics.counts, axis=-1) > 0
  counts = decay * codebooks.counts + (1 - decay) * statistics.counts
  sums = decay * codebooks.sums + (1 - decay) * statistics.sums
  return Codebooks(
    vectors=jnp.where(
      seen[:, None, None], means(counts, sums), codebooks.vectors
    ),
    counts=jnp.where(seen[:, None], counts, codebooks.counts),
    sums=jnp.where(seen[:, None, None], sums, codebooks.sums),
  )


def count(
  codebooks: Codebooks, statistics: quantizer.Statistics, *, decay: float
) -> Codebooks:
  """`update` of the counts alone, where vectors are not learnt."""
  counts = update(codebooks, statistics, decay=decay).counts
  return codebooks.replace(counts=counts)


def dead(counts: Array, *, threshold: float) -> Array:
  """Codes used less than threshold * uniform use: counts [Q, K] -> bool."""
  uniform = jnp.mean(counts, axis=-1, keepdims=True)
  return counts < threshold * uniform


def revive(
  codebooks: Codebooks, statistics: quantizer.Statistics, *, threshold: float
) -> Codebooks:
  """Replaces dead codes by residuals of the batch, all statistics together.

  A revived code starts with uniform use, so that neither the next update undoes
  it (its sum would still be the old one) nor the next check kills it. At most R
  codes per layer and step are replaced, R the number of candidates.
  """
  is_dead = dead(codebooks.counts, threshold=threshold)
  order = jnp.cumsum(is_dead, axis=-1) - 1
  available = statistics.candidates.shape[1]
  seen = jnp.sum(statistics.counts, axis=-1, keepdims=True) > 0
  replace = is_dead & (order < available) & seen
  index = jnp.clip(order, 0, available - 1)
  fresh = jnp.take_along_axis(statistics.candidates, index[..., None], axis=1)
  uniform = jnp.mean(codebooks.counts, axis=-1, keepdims=True)
  uniform = jnp.broadcast_to(uniform, codebooks.counts.shape)
  return Codebooks(
    vectors=jnp.where(replace[..., None], fresh, codebooks.vectors),
    counts=jnp.where(replace, uniform, codebooks.counts),
    sums=jnp.where(
      replace[..., None], fresh * uniform[..., None], codebooks.sums
    ),
  )
