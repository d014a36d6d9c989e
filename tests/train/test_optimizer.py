"""Laws of the optimizers, beside optax's own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.train import optimizer


@pytest.mark.parametrize("norm", [0.0, 1.0, 10.0, 30.0])
def test_gradients_are_clipped_as_optax_clips_them(norm):
  settings = dataclasses.replace(config_lib.Optimizer(), clip_norm=10.0)
  gradients = {"a": jnp.array([0.6, 0.0]) * norm, "b": jnp.array(0.8) * norm}
  params = jax.tree.map(jnp.ones_like, gradients)
  ours, _ = optimizer.build(settings)
  theirs = optax.chain(
    optax.clip_by_global_norm(settings.clip_norm),
    optax.adam(1e-3, b1=settings.beta1, b2=settings.beta2),
  )
  # Adam's first update has the same size for any gradient; its moments do not.
  states = []
  for transform in (ours, theirs):
    _, state = optimizer.apply(
      transform, gradients, transform.init(params), params
    )
    states.append(optax.tree.get(state, "mu"))
  for mine, other in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_allclose(mine, other, rtol=1e-6)
    assert np.all(np.isfinite(mine))
