"""Gradients of kernels as products: sums in a wide dtype."""

import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.convolution.cpu import kernel_gradients


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("positions", [6, 300])
def test_bfloat16_is_summed_in_float32(positions):
  x = jnp.asarray(_normal(0, 3, positions, 4), jnp.bfloat16)
  y = jnp.asarray(_normal(1, 3, positions, 5), jnp.bfloat16)
  exact = np.einsum("bmi,bmo->io", *(np.float64(a) for a in (x, y)))
  sums = kernel_gradients.over_positions(x, y)
  assert sums.dtype == jnp.bfloat16
  # One rounding to eight bits; the terms add up to some ten times the sums.
  np.testing.assert_allclose(np.float64(sums), exact, rtol=2**-8, atol=1e-3)
