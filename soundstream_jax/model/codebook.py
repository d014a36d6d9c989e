"""How codebooks learn: k-means, moving averages, revival. Pure functions.

All of it happens where a `quantizers.kind` compares codes, in C dimensions. The
train step calls `update` and `revive` once per step with the statistics of
the global batch; `kmeans_layers` runs once, before the first step.
Source: paper section III-C (k-means on the first batch, exponential moving
averages after VQ-VAE-2, replacement of unused codes). Iterations, smoothing and
the relative threshold are ours.
"""

import types

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax import config as config_lib
from soundstream_jax import precision
from soundstream_jax.model import quantizer, quantizers
from soundstream_jax.model.quantizers import ema
from soundstream_jax.model.quantizers import kind as kind_lib

Array = jax.Array

# Laplace smoothing of the counts, so that an unused code divides by no zero.
SMOOTHING = 1e-5

# Of functions that are called with vectors alone.
_VECTORS = ema.Ema()


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


def kmeans(
  frames: Array,
  key: Array,
  *,
  size: int,
  iterations: int,
  kind: kind_lib.Kind = _VECTORS,
) -> tuple[Array, Array]:
  """k-means with k-means++ seeding.

  Args:
    frames: [N, C], N >= size.
    key: draws the seeds.
    size: number of clusters, K.
    iterations: of Lloyd's algorithm.
    kind: says which vectors are near each other; centres are plain means.

  Returns:
    (centres [K, C], codes int32 [N]). A cluster that runs empty is moved to
    the frame that is farthest from its centre.
  """
  num = frames.shape[0]
  keys = jax.random.split(key, size)
  placed = kind.placed(frames)

  def squared_distance(centre):
    apart = placed - kind.placed(centre)[None, :]
    return jnp.sum(jnp.square(apart), axis=-1)

  def seed(distances, seed_key):
    # Drawn in proportion to the squared distance; uniform if all are zero.
    weights = jnp.where(jnp.max(distances) > 0, distances, 1)
    cumulative = jnp.cumsum(weights)
    point = jax.random.uniform(seed_key, (), frames.dtype) * cumulative[-1]
    index = jnp.clip(jnp.searchsorted(cumulative, point), 0, num - 1)
    centre = frames[index]
    return jnp.minimum(distances, squared_distance(centre)), centre

  first = frames[jax.random.randint(keys[0], (), 0, num)]
  _, others = lax.scan(seed, squared_distance(first), keys[1:])
  centres = jnp.concatenate([first[None, :], others])

  def lloyd(centres, _):
    codes = kind.nearest(frames, centres)
    counts, sums = assign(frames, codes, size)
    moved = sums / jnp.maximum(counts, 1)[:, None]
    apart = placed - kind.placed(centres)[codes]
    error = jnp.sum(jnp.square(apart), axis=-1)
    _, farthest = lax.top_k(error, size)
    empty = counts == 0
    order = jnp.clip(jnp.cumsum(empty) - 1, 0, size - 1)
    return jnp.where(empty[:, None], frames[farthest[order]], moved), None

  centres, _ = lax.scan(lloyd, centres, length=iterations)
  return centres, kind.nearest(frames, centres)


def assign(frames: Array, codes: Array, size: int) -> tuple[Array, Array]:
  """Counts [K] and sums [K, C] of frames [N, C] by their codes [N]."""
  one_hot = jax.nn.one_hot(codes, size, dtype=frames.dtype)
  sums = lax.dot_general(
    one_hot,
    frames,
    (((0,), (0,)), ((), ())),
    precision=lax.Precision.HIGHEST,
  )
  return jnp.sum(one_hot, axis=0), sums


def kmeans_layers(
  frames: Array,
  key: Array,
  params: kind_lib.Params = types.MappingProxyType({}),
  *,
  kind: kind_lib.Kind = _VECTORS,
  num_quantizers: int,
  size: int,
  iterations: int,
  frames_per_batch: float,
  before: Array | None = None,
) -> Codebooks:
  """Initialises every layer on the residuals that the layers before it leave.

  Args:
    frames: [N, D] latents of one or several global batches.
    key: draws the seeds.
    params: of the kind, each [Q, ...].
    kind: how codes are chosen.
    num_quantizers: Q.
    size: K, at most N.
    iterations: of Lloyd's algorithm, per layer.
    frames_per_batch: scales the counts to those of one batch, the unit of the
      moving averages.
    before: [q, K, C], the first layers where they are there already.

  Returns:
    Codebooks whose moving averages agree with their vectors, of all layers but
    those before.
  """
  num = frames.shape[0]

  def layer(residual, inputs):
    layer_key, of_layer = inputs
    entered = kind.enter(of_layer, residual)
    centres, codes = kmeans(
      entered, layer_key, size=size, iterations=iterations, kind=kind
    )
    counts, _ = assign(entered, codes, size)
    counts = counts * (frames_per_batch / num)
    chosen = kind.leave(of_layer, centres[codes])
    return residual - chosen, (centres, counts)

  def residual_of(residual, inputs):
    vectors, of_layer = inputs
    codes = kind.nearest(kind.enter(of_layer, residual), vectors)
    return residual - kind.leave(of_layer, vectors[codes]), None

  inputs = jax.random.split(key, num_quantizers), dict(params)
  if before is not None:
    there, of_layers = len(before), inputs[1]
    first = jax.tree.map(lambda leaf: leaf[:there], of_layers)
    frames, _ = lax.scan(residual_of, frames, (before, first))
    inputs = jax.tree.map(lambda leaf: leaf[there:], inputs)
  _, (vectors, counts) = lax.scan(layer, frames, inputs)
  return Codebooks(
    vectors=vectors, counts=counts, sums=vectors * counts[..., None]
  )
