"""Finite scalar quantization: every dimension of a code is rounded by itself.

Source: arXiv 2309.15505. A dimension is bounded by tanh and rounded to one of its
levels, evenly spaced in [-1, 1]; a code numbers the combinations of levels. There
is no codebook to learn or to collapse. Residual over layers, each with projections
of its own.

The paper's levels (8, 5, 5, 5 for about 2^10) leave numbers of a whole number of
bits unused; here a code is log2(K) bits of a file, and all K combinations exist:
levels of 4, and one of 8 where an odd bit is left, 1024 = 4^5 and 512 = 8 * 4^3.
The paper shifts even levels so that one of them is zero; ours lie evenly around
it, which is the same up to the bias behind.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax.model.quantizers import kind, projection

Array = jax.Array


def levels(codebook_size: int) -> tuple[int, ...]:
  """Returns the levels of each dimension, the first number's being the highest.

  Args:
    codebook_size: K, a power of two.
  """
  bits = codebook_size.bit_length() - 1
  if bits < 2:
    return (codebook_size,)
  return ((8,) if bits % 2 else (4,)) + (4,) * (bits // 2 - 1)


@dataclasses.dataclass(frozen=True)
class Fsq(projection.Projected):
  codebook_size: int

  learns: ClassVar[bool] = False

  @classmethod
  def of(cls, config: Any) -> "Fsq":
    return cls(config.codebook_size)

  def dim(self, embedding_dim: int) -> int:
    del embedding_dim
    return len(levels(self.codebook_size))

  def enter(self, params: kind.Params, residual: Array) -> Array:
    return jnp.tanh(super().enter(params, residual))

  def nearest(self, entered: Array, codebook: Array) -> Array:
    """Rounds; the codebook's vectors are those of `fixed`."""
    del codebook
    codes = jnp.zeros(entered.shape[:-1], jnp.int32)
    for axis, count in enumerate(levels(self.codebook_size)):
      steps = (entered[..., axis] + 1) * ((count - 1) / 2)
      level = jnp.clip(jnp.round(steps).astype(jnp.int32), 0, count - 1)
      codes = codes * count + level
    return codes

  def fixed(self) -> np.ndarray:
    """Returns the grid, float32 [K, C]: a code's digits are its levels."""
    axes = [np.linspace(-1, 1, count) for count in levels(self.codebook_size)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return grid.reshape(self.codebook_size, -1).astype(np.float32)

  def prepared(self, vectors: Array) -> Any:
    del vectors
    return ()

  def nearest_of_few(self, entered: Array, prepared: Any, layer: int) -> Array:
    del prepared, layer
    return self.nearest(entered, None)
