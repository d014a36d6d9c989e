"""A kind of quantizer: how a layer chooses a code, and what a code stands for.

A layer looks at a residual in the space of its codes, of C dimensions. `enter`
leads there; there `nearest` chooses among the codebook's vectors [K, C]; `leave`
leads back, is affine, and looks at nothing but the code. So for every kind

    latents = sum over layers of table[layer, code],  table = leave(vectors)

is all of decoding, and depth, residuals, statistics and streams are the same
code (`model.quantizer`, `model.codebook`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Params = Mapping[str, Array]  # of one layer, or with a leading axis Q of all


@dataclasses.dataclass(frozen=True)
class Parameter:
  """A parameter of one layer; the module keeps those of all layers as one."""

  initializer: Callable[..., Any]  # of `initialise`
  shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Kind:
  """Vectors in the space of the latents, the nearest of which is the code.

  A subclass changes what is different: see `KINDS`.
  """

  # Whether vectors are learnt: by k-means, moving averages and revival.
  learns: ClassVar[bool] = True
  # Whether `enter` and `leave` have parameters. These learn by gradients, for
  # which each layer passes its code straight through; without them one
  # straight-through step at the end hands on the decoder's gradient.
  projects: ClassVar[bool] = False

  @classmethod
  def of(cls, config: Any) -> "Kind":
    """Returns the kind that a `config.Quantizer` describes."""
    del config
    return cls()

  def dim(self, embedding_dim: int) -> int:
    """Returns C for latents of D dimensions."""
    return embedding_dim

  def parameters(self, embedding_dim: int) -> dict[str, Parameter]:
    """Returns the parameters of one layer, by name."""
    del embedding_dim
    return {}

  def enter(self, params: Params, residual: Array) -> Array:
    """Residuals [..., D] -> where codes are chosen, [..., C]."""
    del params
    return residual

  def leave(self, params: Params, vectors: Array) -> Array:
    """Vectors of codes [..., C] -> what they stand for, [..., D]. Affine."""
    del params
    return vectors

  def placed(self, vectors: Array) -> Array:
    """Returns [..., C] as it is compared: by Euclidean distance."""
    return vectors

  def nearest(self, entered: Array, codebook: Array) -> Array:
    """Returns codes int32 [...] of [..., C] in a codebook [K, C]."""
    return nearest(self.placed(entered), self.placed(codebook))

  def fixed(self) -> Array | None:
    """Returns the vectors [K, C] of every layer, of a kind that learns none."""
    return None

  def prepared(self, vectors: Array) -> Any:
    """Returns what `nearest_of_few` reads, of all codebooks [Q, K, C].

    The time of a few frames is that of reading the codebooks, so each is kept
    as an array of its own, [C, K], with its norms, and read once.
    """
    placed = self.placed(vectors)
    norms = jnp.sum(jnp.square(placed), axis=-1)[:, None, None]
    return [book.T for book in placed], norms

  def nearest_of_few(self, entered: Array, prepared: Any, layer: int) -> Array:
    """`nearest` of few frames [B, F, C] in a layer of what was prepared."""
    books, norms = prepared
    products = lax.dot_general(
      self.placed(entered),
      books[layer],
      (((2,), (0,)), ((), ())),
      precision="highest",
    )
    return first_smallest(norms[layer] - 2 * products)


def nearest(vectors: Array, codebook: Array) -> Array:
  """Returns the index of the nearest code, ties to the lowest index.

  Args:
    vectors: [..., C].
    codebook: [K, C].

  Returns:
    int32 [...].
  """
  products = lax.dot_general(
    vectors,
    codebook,
    (((vectors.ndim - 1,), (1,)), ((), ())),
    precision=lax.Precision.HIGHEST,
  )
  norms = jnp.sum(jnp.square(codebook), axis=-1)
  norms = norms.reshape((1,) * (vectors.ndim - 1) + norms.shape)
  return jnp.argmin(norms - 2 * products, axis=-1).astype(jnp.int32)


def first_smallest(x: Array) -> Array:
  """jnp.argmin over the last axis, in two passes that XLA vectorises."""
  larger = x > jnp.min(x, axis=-1, keepdims=True)
  places = lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
  return jnp.min(jnp.where(larger, x.shape[-1], places), axis=-1)
