"""A batch in parts, one after the other, so that a big batch fits in memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding


def total(
  of: Callable[[Any], Any], batch: Any, *, count: int, place: NamedSharding
) -> Any:
  """Returns the sum of of(part) over `count` parts of a batch.

  Part m holds the rows m, m + count, ...: so every device has its share of
  every part already, and nothing moves.

  Args:
    of: a part of the batch -> tree of arrays to add up.
    batch: tree of arrays whose first axis is the global batch, a multiple of
      count * devices.
    count: of parts; with 1 nothing is split.
    place: the batch's sharding, of which each part is a smaller one.
  """
  if count == 1:
    return of(batch)

  def split(leaf):
    parts = leaf.reshape(leaf.shape[0] // count, count, *leaf.shape[1:])
    return jnp.moveaxis(parts, 1, 0)

  def placed(leaf):
    return lax.with_sharding_constraint(leaf, place)

  def add(sums, part):
    part = jax.tree.map(placed, part)
    return jax.tree.map(jnp.add, sums, of(part)), None

  parts = jax.tree.map(split, batch)
  shapes = jax.eval_shape(of, jax.tree.map(lambda leaf: leaf[0], parts))
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  return lax.scan(add, zeros, parts)[0]
