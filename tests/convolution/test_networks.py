"""The networks are one function of one layout of parameters by every method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.model import (
  initialise,
  soundstream,
)
from soundstream_jax.train import state as state_lib

OTHERS = ("blocks", "rows", "lanes", "gpu")
SIZES = {
  "model.strides": (2, 4),
  "model.encoder_channels": 16,
  "model.decoder_channels": 32,
  "discriminator.wave_scales": 2,
  "discriminator.wave_channels": 8,
  "discriminator.wave_max_channels": 128,
  "discriminator.stft_channels": 4,
}
# One stage, which compiles quickly, and every channel another alpha.
SNAKES = {
  "model.activation": "snake",
  "model.strides": (4,),
  "model.encoder_channels": 8,
  "model.decoder_channels": 8,
}
SAMPLES = 1_600


def audio(level=0.1):
  rng = np.random.default_rng(0)
  return level * rng.standard_normal((2, SAMPLES, 1)).astype(np.float32)


def slopes(function, params, x):
  """Values and gradients with respect to parameters and audio."""
  error, pull = jax.vjp(function, params, x)
  return jax.tree.leaves(error), jax.tree.leaves(pull(jnp.ones_like(error)))


def _spread(path, leaf):
  if path[-1].key != "alpha":
    return leaf
  return np.linspace(0.5, 1.5, len(leaf), dtype=leaf.dtype)


def assert_close(actual, expected):
  assert len(actual) == len(expected)
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max())


@pytest.fixture(scope="module")
def generator(small_config):
  return _generator(small_config, SIZES)


@pytest.fixture(scope="module")
def generator_of_snakes(small_config):
  # The first layer's values are about one: rounding of louder ones turns the
  # phase of their ripples.
  return _generator(small_config, SNAKES, level=1.0)


def _generator(small_config, sizes, level=0.1):
  """By form: error and gradients of the generator, from one set of weights."""
  params = None

  def run(form):
    nonlocal params
    config = small_config(form=form, **sizes)
    net = soundstream.from_config(config)
    if params is None:
      params = soundstream.init(config, jax.random.key(0))
      params = jax.tree_util.tree_map_with_path(_spread, params)
    q = config.quantizer
    vectors = jnp.zeros(
      (q.num_quantizers, q.codebook_size, config.model.embedding_dim)
    )

    def error(params, x):
      # Without the quantizer, whose nearest code a rounding may change.
      variables = soundstream.variables(params, vectors)
      latents = net.apply(variables, x, method="encode")
      output = net.apply(variables, latents, method="decode")
      return jnp.sum(jnp.square(output)) + jnp.sum(jnp.square(latents))

    return jax.jit(lambda p, x: slopes(error, p, x))(params, audio(level))

  return {form: run(form) for form in ("plain", *OTHERS)}


@pytest.fixture(scope="module")
def discriminators(small_config):
  params = None

  def run(form):
    nonlocal params
    config = small_config(form=form, **SIZES)
    net = state_lib.discriminator_module(config)
    if params is None:
      params = initialise.draw(
        jax.eval_shape(net.init, jax.random.key(0), audio())["params"],
        jax.random.key(0),
      )

    def error(params, x):
      outputs = net.apply({"params": params}, x)
      return sum(
        jnp.mean(jnp.square(leaf)) for leaf in jax.tree.leaves(outputs)
      )

    return jax.jit(lambda p, x: slopes(error, p, x))(params, audio())

  return {form: run(form) for form in ("plain", *OTHERS)}


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize(
  "network", ["generator", "generator_of_snakes", "discriminators"]
)
def test_values_and_gradients_equal_the_definition(network, form, request):
  results = request.getfixturevalue(network)
  for actual, expected in zip(results[form], results["plain"], strict=True):
    assert_close(actual, expected)
