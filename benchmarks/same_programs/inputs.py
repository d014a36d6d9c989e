"""Arguments of a case: shapes that it is lowered for, or arrays to run it."""

import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np


class Abstract:
  """Leaves shapes what they are."""

  def __call__(self, name: str, tree, *, below: int = 2):
    return tree

  def made(self, function, *arguments):
    return jax.eval_shape(function, *arguments)


class Drawn:
  """Draws arrays from the seed and the name of each leaf, so not its place."""

  def __init__(self, seed: int = 0):
    self._seed = seed

  def __call__(self, name: str, tree, *, below: int = 2):
    """Returns arrays like a tree of shapes; integers are from 0 to `below`."""

    def draw(path, leaf):
      path = name + jax.tree_util.keystr(path)
      random = np.random.default_rng((self._seed, zlib.crc32(path.encode())))
      if jnp.issubdtype(leaf.dtype, jnp.floating):
        values = random.normal(size=leaf.shape)
        if "params" in path and leaf.ndim > 1:
          values /= np.sqrt(np.prod(leaf.shape[:-1]))
        elif name == "audio" or "batch" in path:
          values *= 0.1
        if re.search(r"\.nu\b|counts|'scale'", path):
          values = np.abs(values)
      else:
        values = random.integers(0, below, leaf.shape)
      place = getattr(leaf, "sharding", None)
      return jax.device_put(jnp.asarray(values, leaf.dtype), place)

    return jax.tree_util.tree_map_with_path(draw, tree)

  def made(self, function, *arguments):
    return function(*arguments)
