"""Use of the codebooks: perplexity and dead codes of each quantizer.

Q: quantizers, K: codes in a codebook. Counts may be of one batch, of a whole
evaluation, or exponential averages.
"""

import jax
import jax.numpy as jnp

from soundstream_jax import precision


def perplexity(counts: jax.Array) -> jax.Array:
  """Returns exp(entropy) of counts [Q, K] per layer [Q], float32.

  K when all codes are used equally, 1 when one code takes everything; also 1
  for a layer without counts.
  """
  counts = precision.widened(jnp.asarray(counts))
  share = counts / jnp.maximum(jnp.sum(counts, axis=1, keepdims=True), 1e-20)
  return jnp.exp(jnp.sum(jax.scipy.special.entr(share), axis=1))


def dead_fraction(counts: jax.Array, *, threshold: float) -> jax.Array:
  """Returns the share of dead codes of counts [Q, K] per layer [Q], float32.

  Args:
    threshold: a code is dead below this share of the layer's mean count, or
      if it was never used; 0 counts the unused ones alone.
  """
  counts = precision.widened(jnp.asarray(counts))
  least = threshold * jnp.mean(counts, axis=1, keepdims=True)
  dead = (counts < least) | (counts == 0)
  return jnp.mean(dead.astype(counts.dtype), axis=1)
