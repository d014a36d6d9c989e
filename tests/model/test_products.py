"""Gradients by products equal XLA's own, whichever side is the narrower."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.convolution import two_taps as causal
from soundstream_jax.convolution.cpu import kernel_gradients as products


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _all(function, x, kernel):
  """The value and both gradients, of a cotangent that differs everywhere."""
  y, pull = jax.vjp(function, x, kernel)
  return [y, *pull(jnp.sin(y))]


def _assert_equal(function, expected, x, kernel):
  results = _all(function, x, kernel), _all(expected, x, kernel)
  for actual, like in zip(*results, strict=True):
    np.testing.assert_allclose(actual, like, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("as_row", [False, True])
@pytest.mark.parametrize("time", [1, 7, 200])  # short, and tall
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 3), (4, 4)])
def test_two_taps_are_a_causal_convolution(inputs, outputs, time, as_row):
  def two_taps(x, kernel):
    if as_row:
      return products.two_taps(x[:, None], kernel)[:, 0]
    return products.two_taps(x, kernel)

  _assert_equal(
    two_taps,
    causal.causal_conv,
    _normal(0, 2, time, inputs),
    _normal(1, 2, inputs, outputs),
  )


@pytest.mark.parametrize("time", [5, 200])
def test_pointwise_is_a_convolution_with_one_tap(time):
  _assert_equal(
    products.pointwise,
    lambda x, kernel: causal.causal_conv(x, kernel[None]),
    _normal(0, 2, time, 3),
    _normal(1, 3, 8),
  )


@pytest.mark.parametrize("positions", [6, 300])
def test_bfloat16_is_summed_in_float32(positions):
  x = jnp.asarray(_normal(0, 3, positions, 4), jnp.bfloat16)
  y = jnp.asarray(_normal(1, 3, positions, 5), jnp.bfloat16)
  exact = np.einsum("bmi,bmo->io", *(np.float64(a) for a in (x, y)))
  sums = products.over_positions(x, y)
  assert sums.dtype == jnp.bfloat16
  # One rounding to eight bits; the terms add up to some ten times the sums.
  np.testing.assert_allclose(np.float64(sums), exact, rtol=2**-8, atol=1e-3)
