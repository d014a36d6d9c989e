"""Initial values: modules declare them, one draw on the host makes them.

A module's initializer returns its parameter in a box with mean and standard
deviation, so shapes and distributions follow from `eval_shape` alone. `draw`
then fills a whole network from one stream of normal numbers. Nothing is
compiled per parameter (a generator per leaf takes XLA over a minute on a CPU),
and numpy arrays can be placed on any sharding piece by piece.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

# One number, or nested tuples of numbers: the metadata of a tree is hashed.
Mean = float | tuple


class Drawn(flax.struct.PyTreeNode, nn.meta.AxisMetadata):
  """A parameter with the distribution that its first value comes from."""

  value: jax.Array
  mean: Mean = flax.struct.field(pytree_node=False)
  std: float = flax.struct.field(pytree_node=False)
  # Of the same module, whose first value it takes over, the last two axes
  # swapped; then it has no distribution of its own.
  transposed: str = flax.struct.field(pytree_node=False, default="")

  def unbox(self):
    return self.value

  def replace_boxed(self, val):
    return self.replace(value=val)

  def add_axis(self, index, params):
    del index, params
    return self

  def remove_axis(self, index, params):
    del index, params
    return self


def normal(std: float):
  """Initializer: independent normal values around zero."""

  def initializer(key, shape, dtype=jnp.float32):
    del key
    return Drawn(jnp.zeros(shape, dtype), mean=0.0, std=std)

  return initializer


def constant(value: Mean):
  """Initializer: one value everywhere, or values that broadcast."""

  def initializer(key, shape, dtype=jnp.float32):
    del key
    return Drawn(jnp.zeros(shape, dtype), mean=value, std=0.0)

  return initializer


def transposed(name: str):
  """Initializer: another parameter's values, the last two axes swapped."""

  def initializer(key, shape, dtype=jnp.float32):
    del key
    value = jnp.zeros(shape, dtype)
    return Drawn(value, mean=0.0, std=0.0, transposed=name)

  return initializer


def draw(declared, key: jax.Array):
  """Returns numpy arrays for a tree of `Drawn` (values or shapes).

  The numbers depend on the key and on the order of the tree's leaves, not on
  devices or processes.
  """
  found, treedef = jax.tree_util.tree_flatten_with_path(
    declared, is_leaf=lambda leaf: isinstance(leaf, Drawn)
  )
  paths, boxes = [path for path, _ in found], [box for _, box in found]
  sizes = [int(np.prod(box.value.shape)) if box.std else 0 for box in boxes]
  numbers = np.asarray(jax.random.normal(key, (sum(sizes),), jnp.float32))
  pieces = np.split(numbers, np.cumsum(sizes, dtype=int))[:-1]
  leaves = []
  for box, piece in zip(boxes, pieces, strict=True):
    shape, dtype = box.value.shape, box.value.dtype
    if box.std:
      leaves.append((piece.reshape(shape) * box.std).astype(dtype))
    else:
      leaves.append(np.full(shape, box.mean, dtype))
  for i, (path, box) in enumerate(found):
    if box.transposed:
      other = (*path[:-1], jax.tree_util.DictKey(box.transposed))
      leaves[i] = np.swapaxes(leaves[paths.index(other)], -1, -2).copy()
  return jax.tree.unflatten(treedef, leaves)
