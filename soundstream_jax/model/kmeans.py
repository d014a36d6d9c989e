"""K-means: the codebooks that a run begins with.

It happens where a `quantizers.kind` compares codes, in C dimensions, once, before
the first step. Frames may be split over devices: nothing here needs two of them in
one place but the seeds, so that counts, sums and seeds are all that is exchanged.
Source: paper section III-C (k-means on the first batch); the number of iterations
is ours.
"""

import types

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.model import codebook, kmeans_seeds
from soundstream_jax.model.quantizers import ema
from soundstream_jax.model.quantizers import kind as kind_lib

Array = jax.Array

# Of functions that are called with vectors alone.
_VECTORS = ema.Ema()


def fit(
  frames: Array,
  key: Array,
  *,
  size: int,
  iterations: int,
  kind: kind_lib.Kind = _VECTORS,
) -> tuple[Array, Array]:
  """K-means: seeds, then Lloyd's algorithm.

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
  placed = kind.placed(frames)
  centres = kmeans_seeds.draw(frames, key, size=size, kind=kind)

  def refill(empty, moved, centres, codes):
    apart = placed - kind.placed(centres)[codes]
    error = jnp.sum(jnp.square(apart), axis=-1)
    _, farthest = lax.top_k(error, size)
    order = jnp.clip(jnp.cumsum(empty) - 1, 0, size - 1)
    return jnp.where(empty[:, None], frames[farthest[order]], moved)

  def lloyd(centres, _):
    codes = kind.nearest(frames, centres)
    counts, sums = assign(frames, codes, size)
    moved = sums / jnp.maximum(counts, 1)[:, None]
    empty = counts == 0
    moved = lax.cond(
      jnp.any(empty),
      refill,
      lambda empty, moved, *_: moved,
      *(empty, moved, centres, codes),
    )
    return moved, None

  centres, _ = lax.scan(lloyd, centres, length=iterations)
  return centres, kind.nearest(frames, centres)


def assign(frames: Array, codes: Array, size: int) -> tuple[Array, Array]:
  """Counts [K] and sums [K, C] of frames [N, C] by their codes [N]."""
  # [K, N], for a product without a transposed side: a third less time on a CPU.
  one_hot = jax.nn.one_hot(codes, size, axis=0, dtype=frames.dtype)
  sums = lax.dot_general(
    one_hot,
    frames,
    (((1,), (0,)), ((), ())),
    precision=lax.Precision.HIGHEST,
  )
  return jnp.sum(one_hot, axis=1), sums


def fit_layers(
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
) -> codebook.Codebooks:
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
    centres, codes = fit(
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
  return codebook.Codebooks(
    vectors=vectors, counts=counts, sums=vectors * counts[..., None]
  )
