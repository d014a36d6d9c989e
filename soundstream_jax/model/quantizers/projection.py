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

    The second kernel starts as the first transposed, ours: so a layer takes away
    from the residual a part of it, and the encoder's gradient points where its
    latents would have to go. Independent kernels make codes that are no part of
    the residual, which layers then add to instead. The standard deviation is
    that at which no direction is taken away more than once (the largest
    singular value of such a kernel is 1, after Marchenko and Pastur).
    """
    wide, few = embedding_dim, self.dim(embedding_dim)
    std = 1 / (wide**0.5 + few**0.5)
    zeros = initialise.constant(0.0)
    there, back = initialise.normal(std), initialise.transposed("in_kernel")
    return {
      "in_kernel": kind.Parameter(there, (wide, few)),
      "in_bias": kind.Parameter(zeros, (few,)),
      "out_kernel": kind.Parameter(back, (few, wide)),
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
