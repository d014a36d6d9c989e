"""The switch for denoising: a layer that a flag changes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.model import initialise

Array = jax.Array


class Film(nn.Module):
  """Feature-wise linear modulation by a two-way condition.

  Scale and shift are a linear layer on the one-hot of the condition (paper
  section III-F). It starts as the identity, but for a quarter of the channels,
  which the condition switches off: so noise has channels of its own from the
  first step on. Ours: if scale and shift start alike for both conditions, their
  gradients are alike too, and they take long to differ.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, condition: Array) -> Array:
    """Modulates x [B, F, D] by condition [B] or [B, F] (bool or 0/1)."""
    param_dtype = precision.of_parameters(self.dtype)
    shape = (2, x.shape[-1])
    kept = shape[1] - shape[1] // 4
    off, on = (1.0,) * shape[1], (1.0,) * kept + (0.0,) * (shape[1] - kept)
    scale = self.param(
      "scale", initialise.constant((off, on)), shape, param_dtype
    )
    shift = self.param("shift", initialise.constant(0.0), shape, param_dtype)
    index = condition.astype(jnp.int32)
    if index.ndim == 1:
      index = index[:, None]
    gamma = scale.astype(self.dtype)[index]
    beta = shift.astype(self.dtype)[index]
    gamma, beta = (jnp.broadcast_to(v, x.shape) for v in (gamma, beta))
    return gamma * x + beta
