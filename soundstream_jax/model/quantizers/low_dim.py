"""Codes of few dimensions, chosen by their direction.

Source: Descript Audio Codec (arXiv 2306.06546, section 3.2): "factorized" codes
of 8 dimensions, looked up with L2 norm, so that few codes go unused.

Directions choose a code, since with equal lengths the nearest vector is the one
of the largest cosine. What the code stands for has a length of its own: a vector
is the mean of what chose it, before any norm, so a layer can be loud or quiet. That
mean is where DAC's codebook loss leads, |sg(z) - vector|^2 of z as it entered; DAC
takes gradient steps there, we the moving averages of the paper, with its k-means
and its revival, which DAC goes without. Ours.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from soundstream_jax.model.quantizers import projection

Array = jax.Array

# Below the length of anything that is not zero for good.
SHORTEST = 1e-12


@dataclasses.dataclass(frozen=True)
class LowDim(projection.Projected):
  code_dim: int

  @classmethod
  def of(cls, config: Any) -> "LowDim":
    return cls(config.code_dim)

  def dim(self, embedding_dim: int) -> int:
    del embedding_dim
    return self.code_dim

  def placed(self, vectors: Array) -> Array:
    """Returns vectors of length 1; zeros stay zeros."""
    squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors / jnp.maximum(jnp.sqrt(squares), SHORTEST)
