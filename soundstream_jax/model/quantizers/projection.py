"""Kinds whose codes have fewer dimensions than the latents.

Every layer has a projection D -> d before its codes and one d -> D behind them
(Descript Audio Codec, arXiv 2306.06546, section 3.2; ViT-VQGAN, 2110.04627).
Both learn by gradients, through the code as if it were what it was chosen for.
"""

from typing import ClassVar

import jax
from jax import lax

from soundstream_jax.model import initialise
from soundstream_jax.model.quantizers import kind

Array = jax.Array


class Projected(kind.Kind):
  """A kind with two projections in each layer; a subclass gives `dim`."""

  projects: ClassVar[bool] = True

  def parameters(self, embedding_dim: int) -> dict[str, kind.Parameter]:
    """Kernels [D, d] and [d, D], biases [d] and [D].

    Both kernels start at the variance 1 / D, ours: the first keeps the
    variance, and what a layer takes from a residual, which at random is no part
    of it, then has d / D of its energy. With 1 / d behind the codes residuals
    would double from layer to layer.
    """
    wide, few = embedding_dim, self.dim(embedding_dim)
    kernel = initialise.normal(wide**-0.5)
    zeros = initialise.constant(0.0)
    return {
      "in_kernel": kind.Parameter(kernel, (wide, few)),
      "in_bias": kind.Parameter(zeros, (few,)),
      "out_kernel": kind.Parameter(kernel, (few, wide)),
      "out_bias": kind.Parameter(zeros, (wide,)),
    }

  def enter(self, params: kind.Params, residual: Array) -> Array:
    return _affine(residual, params["in_kernel"], params["in_bias"])

  def leave(self, params: kind.Params, vectors: Array) -> Array:
    return _affine(vectors, params["out_kernel"], params["out_bias"])


def _affine(x: Array, kernel: Array, bias: Array) -> Array:
  products = lax.dot_general(
    x,
    kernel,
    (((x.ndim - 1,), (0,)), ((), ())),
    precision=lax.Precision.HIGHEST,
  )
  return products + bias.reshape((1,) * (x.ndim - 1) + bias.shape)
