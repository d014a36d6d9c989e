"""Where k-means begins: frames drawn in rounds, thinned to one a code.

k-means++ draws its seeds one after another, each in proportion to the squared
distance from those before, and looks at every frame for every seed. Here a few
rounds draw many candidates each, and k-means++ chooses among these alone, each
weighted by the frames that are nearest to it: k-means|| (arXiv 1203.6402). Every
choice takes the best of a few draws (greedy k-means++, Arthur and Vassilvitskii
2007, section 5). ROUNDS, CANDIDATES, FEWEST and DRAWS are ours.
"""

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.model.quantizers import kind as kind_lib

Array = jax.Array

# Passes over all frames; the first draws uniformly.
ROUNDS = 8

# Candidates per code, of all rounds together, and how many there are at least:
# they cost little where codes are few. Fewer frames are all candidates.
CANDIDATES = 2
FEWEST = 128

# Of which the one is kept that leaves the smallest error.
DRAWS = 4


def draw(frames: Array, key: Array, *, size: int, kind: kind_lib.Kind) -> Array:
  """Returns the first centres [K, C], each of them a frame.

  A function of the frames, in their order, and of the key: the frames may be
  split over devices, of which each then has all candidates.

  Args:
    frames: [N, C], N >= K. With fewer distinct ones than K seeds repeat.
    key: draws them.
    size: K.
    kind: says which vectors are near each other.
  """
  rounds_key, thin_key = jax.random.split(key)
  candidates, weights = _candidates(frames, rounds_key, size=size, kind=kind)
  chosen = _thinned(kind.placed(candidates), weights, thin_key, size=size)
  return candidates[chosen]


def _candidates(
  frames: Array, key: Array, *, size: int, kind: kind_lib.Kind
) -> tuple[Array, Array]:
  """Returns candidates [M, C], and of how many frames each is the nearest."""
  num = len(frames)
  each = -(-max(CANDIDATES * size, FEWEST) // ROUNDS)
  if num <= each * ROUNDS:
    return frames, jnp.ones((num,), frames.dtype)
  placed = kind.placed(frames)

  def one_round(carry, inputs):
    distances, owners = carry
    first, round_key = inputs
    _, drawn = lax.top_k(_noisy(distances, round_key), each)
    found = frames[drawn]
    near = kind.nearest(frames, found)
    # As differences: the distance between equals is zero, and not rounding.
    apart = placed - kind.placed(found)[near]
    fresh = jnp.sum(jnp.square(apart), axis=-1)
    owners = jnp.where(fresh < distances, first + near, owners)
    return (jnp.minimum(fresh, distances), owners), found

  alike = jnp.full((num,), jnp.finfo(frames.dtype).max, frames.dtype)
  start = alike, jnp.zeros((num,), jnp.int32)
  firsts = each * jnp.arange(ROUNDS, dtype=jnp.int32)
  (_, owners), found = lax.scan(
    one_round, start, (firsts, jax.random.split(key, ROUNDS))
  )
  found = found.reshape(-1, frames.shape[-1])
  # Whole numbers: the order in which devices add them changes nothing.
  counts = jnp.zeros((len(found),), jnp.int32).at[owners].add(1)
  return found, counts.astype(frames.dtype)


def _thinned(placed: Array, weights: Array, key: Array, *, size: int) -> Array:
  """Returns the indices int32 [K] of seeds among candidates [M, C]."""
  num = len(placed)
  # Distances are those of products: around their mean they lose the least.
  placed = placed - jnp.mean(placed, axis=0, keepdims=True)
  norms = jnp.sum(jnp.square(placed), axis=-1)
  products = lax.dot_general(
    placed, placed, (((1,), (1,)), ((), ())), precision=lax.Precision.HIGHEST
  )
  between = norms[:, None] + norms[None, :] - 2 * products
  between = jnp.where(jnp.eye(num, dtype=bool), 0, jnp.maximum(between, 0))

  def choose(distances, seed_key):
    shares = jnp.broadcast_to(weights * distances, (DRAWS, num))
    drawn = jnp.argmax(_noisy(shares, seed_key), axis=-1)
    left = jnp.minimum(distances[None, :], between[drawn])
    best = jnp.argmin(jnp.sum(weights[None, :] * left, axis=-1))
    return left[best], drawn[best]

  start = jnp.full((num,), jnp.max(between))
  _, chosen = lax.scan(choose, start, jax.random.split(key, size))
  return chosen


def _noisy(shares: Array, key: Array) -> Array:
  """Returns log(shares) with Gumbel noise, of the same shape.

  The place of the largest is a draw in proportion to the shares; those of the
  largest ones are draws without replacement. No sum over the shares is rounded.
  """
  return jnp.log(shares) + jax.random.gumbel(key, shares.shape, shares.dtype)
