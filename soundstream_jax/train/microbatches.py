"""Microbatches: a batch is computed piece by piece, so that it fits in memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding


def total(
  of: Callable[[Any], Any], batch: Any, *, count: int, place: NamedSharding
) -> Any:
  """Returns the sum of of(microbatch) over the microbatches of a batch.

  Microbatch m holds the rows m, m + count, ...: so every device has its share
  of every microbatch already, and nothing moves.

  Args:
    of: a microbatch -> tree of arrays to add up.
    batch: tree of arrays whose first axis is the global batch, a multiple of
      count * devices.
    count: of microbatches; with 1 nothing is split.
    place: the batch's sharding; a microbatch is split the same way.
  """
  if count == 1:
    return of(batch)

  def split(leaf):
    apart = leaf.reshape(leaf.shape[0] // count, count, *leaf.shape[1:])
    return jnp.moveaxis(apart, 1, 0)

  def placed(leaf):
    return lax.with_sharding_constraint(leaf, place)

  def add(sums, microbatch):
    microbatch = jax.tree.map(placed, microbatch)
    return jax.tree.map(jnp.add, sums, of(microbatch)), None

  microbatches = jax.tree.map(split, batch)
  shapes = jax.eval_shape(of, jax.tree.map(lambda leaf: leaf[0], microbatches))
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  return lax.scan(add, zeros, microbatches)[0]
