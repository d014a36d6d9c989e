"""The state and the variables of streams, each packed into few arrays.

A compiled call takes time for every array that it is given: a model has
hundreds, and a step of one frame takes less than a millisecond.
"""

import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

Array = jax.Array


@flax.struct.dataclass
class State:
  """The past that B streams keep, as one array; zeros at their start."""

  values: Array  # [B, S] float32, which bfloat16, bool and counts fit into
  # The leaves' shapes and types, and their tree.
  layout: tuple[tuple, Any] = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class Variables:
  """The network's variables, without dicts: jax sorts those at every call."""

  arrays: tuple[Array, ...]
  vectors: State  # all leaves of one axis, as if one stream kept them
  are_vectors: tuple[bool, ...] = flax.struct.field(pytree_node=False)
  treedef: Any = flax.struct.field(pytree_node=False)

  @classmethod
  def of(cls, tree: dict) -> "Variables":
    leaves, treedef = jax.tree.flatten(tree)
    are_vectors = tuple(x.ndim == 1 for x in leaves)
    vectors = [x[None] for x in leaves if x.ndim == 1]
    arrays = tuple(x for x in leaves if x.ndim != 1)
    return cls(arrays, pack(vectors), are_vectors, treedef)

  def tree(self) -> dict:
    arrays, vectors = iter(self.arrays), iter(unpack(self.vectors))
    leaves = (next(vectors)[0] if v else next(arrays) for v in self.are_vectors)
    return jax.tree.unflatten(self.treedef, list(leaves))


def reset(state: State, which: Array | None = None) -> State:
  """Returns a state that begins streams anew: all, or those of a mask [B]."""
  if which is None:
    return state.replace(values=jnp.zeros_like(state.values))
  return state.replace(values=jnp.where(which[:, None], 0, state.values))


def pack(tree: Any) -> State:
  """Packs a tree of arrays [B, ...]."""
  leaves, treedef = jax.tree.flatten(tree)
  layout = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves)
  values = [x.astype(jnp.float32).reshape(x.shape[0], -1) for x in leaves]
  return State(jnp.concatenate(values, axis=1), (layout, treedef))


def unpack(state: State) -> Any:
  """Returns the tree of arrays that was packed."""
  layout, treedef = state.layout
  start, leaves = 0, []
  for like in layout:
    end = start + math.prod(like.shape[1:])
    values = state.values[:, start:end]
    # As many streams as there are: a layout fits any number of them.
    shape = (values.shape[0], *like.shape[1:])
    leaves.append(values.reshape(shape).astype(like.dtype))
    start = end
  return jax.tree.unflatten(treedef, leaves)
