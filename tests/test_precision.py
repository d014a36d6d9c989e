"""Sums that stay wide where convolutions are narrow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import precision


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_bias_is_added_in_the_dtype_of_the_activations(dtype):
  x = jnp.ones((2, 3, 4), dtype)
  bias = jnp.arange(4, dtype=jnp.float32)
  with jax.numpy_dtype_promotion("strict"):
    y = precision.add_bias(x, bias)
  assert y.dtype == dtype
  np.testing.assert_array_equal(
    y.astype(jnp.float32), np.broadcast_to(1 + np.arange(4), (2, 3, 4))
  )


def test_the_gradient_of_a_bias_adds_up_thousands_of_narrow_terms():
  rng = np.random.default_rng(0)
  cotangent = rng.normal(size=(8, 4_800, 16)).astype(np.float32) + 0.1
  narrow = jnp.asarray(cotangent, jnp.bfloat16)

  def pulled(add):
    _, pull = jax.vjp(add, jnp.zeros_like(narrow), jnp.zeros(16, jnp.float32))
    return jax.jit(pull)(narrow)

  slope, total = pulled(precision.add_bias)
  expected = np.sum(np.asarray(narrow, np.float64), axis=(0, 1))
  np.testing.assert_array_equal(slope, narrow)
  assert total.dtype == np.float32
  np.testing.assert_allclose(total, expected, rtol=1e-4)
  # What the plain sum of arrays would do.
  _, plain = pulled(lambda x, b: x + b.astype(x.dtype)[None, None])
  assert np.max(np.abs(plain / expected - 1)) > 1e-3


def test_a_float32_product_is_what_the_device_makes_of_it():
  assert precision.products("float32", "cpu") == "float32"
  assert precision.products("float32", "gpu") == "float32 (products of TF32)"
  assert precision.products("float32", "tpu").endswith("of bfloat16)")
  for platform in ("cpu", "gpu", "tpu"):
    assert precision.products("bfloat16", platform) == "bfloat16"
  with jax.default_matmul_precision("highest"):
    assert precision.products("float32", "gpu").endswith("precision=highest)")
