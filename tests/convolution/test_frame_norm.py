"""Layer norm in few passes is the one of the definition, gradients and all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.convolution import frame_norm, methods, signal
from soundstream_jax.model import discriminator_output


def run(form, x, scale, bias, cotangent):
  """Values, and gradients toward the input, scale and bias."""

  def normalise(x, scale, bias):
    entered = signal.enter(x, methods.METHODS[form], channels=4, granule=1)
    return entered.normalised(scale, bias, discriminator_output.leaky).values

  @jax.jit
  def both(x, scale, bias, cotangent):
    y, pull = jax.vjp(normalise, x, scale, bias)
    return y, *pull(cotangent)

  return both(x, scale, bias, cotangent)


def normal(*shape, seed):
  rng = np.random.default_rng(seed)
  return rng.standard_normal(shape).astype(np.float32)


FRAMES = {
  "ordinary": lambda x: x,
  "far from zero": lambda x: 30 + x,
  "loud": lambda x: 1e3 * x,
  "one loud value": lambda x: (
    np.where(np.arange(x.size) % 97, x.ravel(), 50)
    .reshape(x.shape)
    .astype(np.float32)
  ),
  "one value": lambda x: np.full_like(x, 0.7),
}


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES.keys())
def test_values_and_gradients_are_those_of_the_definition(frames):
  x = frames(normal(2, 3, 24, 8, seed=0))
  # No activation sits at its kink, where rounding would choose the slope.
  scale, bias = normal(8, seed=1), 0.3 + np.arange(8, dtype=np.float32)
  cotangent = normal(*x.shape, seed=3)
  given = x, scale, bias, cotangent
  with jax.enable_x64():  # to 1e-5 the definition itself rounds, of loud frames
    exact = run("plain", *(a.astype(np.float64) for a in given))
  for a, e in zip(run("gpu", *given), exact, strict=True):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, rtol=5e-5, atol=2e-5 * np.abs(e).max())


def test_in_bfloat16_sums_are_those_of_float32():
  x = jnp.asarray(normal(2, 3, 512, 8, seed=0), jnp.bfloat16)
  scale, bias = np.ones(8, np.float32), np.zeros(8, np.float32)
  cotangent = jnp.asarray(normal(*x.shape, seed=3), jnp.bfloat16)
  wide = [jnp.asarray(a, jnp.float32) for a in (x, cotangent)]
  y, *_, of_bias = run("gpu", x, scale, bias, cotangent)
  assert y.dtype == jnp.bfloat16
  assert of_bias.dtype == jnp.float32
  expected = run("plain", wide[0], scale, bias, wide[1])[-1]
  np.testing.assert_allclose(of_bias, expected, rtol=0.02, atol=0.5)


def test_a_constant_frame_has_no_spread_and_a_finite_slope():
  x = np.full((1, 2, 4, 4), 1e4, np.float32)
  ones = np.ones(4, np.float32)
  for leaf in run("gpu", x, ones, 0 * ones, x):
    assert np.isfinite(leaf).all()
  assert frame_norm.EPSILON > 0
