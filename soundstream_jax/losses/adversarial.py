"""Adversarial and feature losses (paper equations 1 to 3).

An output is what one discriminator says about a batch: anything with `logits`
[B, T_k, 1] and `features`, a list of arrays with the batch first, as
model/discriminator.py returns it. Every loss takes a list of outputs, one per
discriminator, averages each over batch and time and divides by the number of
discriminators in the list. The paper prints 1 / K with K = 3 while k runs from
0 to 3; dividing by the four that are used differs from that by a factor 3 / 4.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax import precision


class Output(Protocol):
  """One discriminator's view of a batch."""

  logits: jax.Array  # [B, T_k, 1]
  features: Sequence[jax.Array]  # L arrays [B, ..., C_l]


def discriminator_hinge(
  real: Sequence[Output], fake: Sequence[Output]
) -> jax.Array:
  """mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(x))) (equation 1), scalar."""
  return _mean_over(
    real, lambda logits: jax.nn.relu(1.0 - logits)
  ) + _mean_over(fake, lambda logits: jax.nn.relu(1.0 + logits))


def generator_hinge(fake: Sequence[Output]) -> jax.Array:
  """mean max(0, 1 - D(G(x))) (equation 2), scalar."""
  return _mean_over(fake, lambda logits: jax.nn.relu(1.0 - logits))


def feature_distance(
  real: Sequence[Output], fake: Sequence[Output]
) -> jax.Array:
  """Mean absolute difference of the features (equation 3), scalar.

  Mean over batch, time, frequency and channels, then over layers, then over
  discriminators. The paper does not say how channels are reduced. No gradient
  flows into the features of the real audio.

  Raises:
    ValueError: the lists differ in length.
  """
  per_discriminator = []
  for one, other in zip(real, fake, strict=True):
    per_layer = [
      jnp.mean(
        jnp.abs(precision.widened(lax.stop_gradient(a)) - precision.widened(b))
      )
      for a, b in zip(one.features, other.features, strict=True)
    ]
    per_discriminator.append(jnp.mean(jnp.stack(per_layer)))
  return jnp.mean(jnp.stack(per_discriminator))


def share_positive(outputs: Sequence[Output]) -> jax.Array:
  """Share of logits above 0, averaged over discriminators, scalar."""
  return _mean_over(outputs, lambda logits: (logits > 0).astype(logits.dtype))


def _mean_over(
  outputs: Sequence[Output], of: Callable[[jax.Array], jax.Array]
) -> jax.Array:
  return jnp.mean(
    jnp.stack(
      [jnp.mean(of(precision.widened(output.logits))) for output in outputs]
    )
  )
