"""Laws of the activation snake: one function in every layout, finite slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.convolution import methods, signal, snake
from soundstream_jax.convolution.stream import method as stream
from soundstream_jax.model import layers, soundstream
from tests.convolution.channels_first import ChannelsFirst

RANDOM = np.random.default_rng(0)
# Loud and quiet, and alphas of both signs and of nearly nothing.
X = RANDOM.normal(size=(2, 48, 4)) * np.geomspace(1e-3, 10, 48)[:, None]
ALPHA = np.array([1.0, -0.7, 3.0, 1e-3]).reshape(1, 1, -1)


def _definition(x, alpha):
  return x + np.sin(alpha * x) ** 2 / alpha


def test_values_and_slopes_are_those_of_the_definition():
  x, alpha = X.astype(np.float32), ALPHA.astype(np.float32)
  above = RANDOM.normal(size=x.shape).astype(np.float32)
  y, pull = jax.vjp(snake.snake, x, alpha)
  of_x, of_alpha = pull(above)
  wide, exact = x.astype(float), alpha.astype(float)
  np.testing.assert_allclose(y, _definition(wide, exact), rtol=1e-6, atol=1e-6)
  slope = np.sin(2 * exact * wide)
  np.testing.assert_allclose(of_x, above * (1 + slope), rtol=1e-5, atol=1e-5)
  terms = wide * slope / exact - np.sin(exact * wide) ** 2 / exact**2
  expected = (above * terms).sum(axis=(0, 1), keepdims=True)
  np.testing.assert_allclose(
    of_alpha, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
  )


def test_ripples_are_exact_over_many_periods():
  x = np.linspace(-3_000, 3_000, 100_001).astype(np.float32)
  y, pull = jax.vjp(snake.snake, x, np.ones(1, np.float32))
  wide = x.astype(float)
  np.testing.assert_allclose(y - x, np.sin(wide) ** 2, rtol=0, atol=3e-4)
  slope, _ = pull(np.ones_like(x))
  np.testing.assert_allclose(slope, 1 + np.sin(2 * wide), rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, -0.0, 1e-30, -1e-9, 1e-9])
def test_without_ripples_it_is_a_line(alpha):
  x = X.astype(np.float32)
  alphas = np.full((1, 1, 4), alpha, np.float32)
  y, pull = jax.vjp(snake.snake, x, alphas)
  np.testing.assert_allclose(y, x, rtol=1e-6)
  slope, of_alpha = pull(np.ones_like(x))
  np.testing.assert_allclose(slope, np.ones_like(x), rtol=1e-6)
  assert np.isfinite(of_alpha).all()


def test_bfloat16_is_the_rounded_value_and_alpha_keeps_its_precision():
  x = jnp.asarray(X, jnp.bfloat16)
  alpha = ALPHA.astype(np.float32)
  y, pull = jax.vjp(snake.snake, x, alpha)
  wide, pull_wide = jax.vjp(snake.snake, x.astype(np.float32), alpha)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_array_equal(y, wide.astype(jnp.bfloat16))
  of_x, of_alpha = pull(jnp.ones_like(y))
  assert (of_x.dtype, of_alpha.dtype) == (jnp.bfloat16, np.float32)
  _, expected = pull_wide(jnp.ones_like(wide))
  np.testing.assert_array_equal(of_alpha, expected)


@pytest.mark.parametrize(
  "method", [*methods.METHODS.values(), ChannelsFirst()], ids=type
)
def test_every_layout_has_the_alpha_of_its_channels(method):
  x, alpha = X.astype(np.float32), ALPHA.astype(np.float32)

  def computed(x, alpha):
    entered = signal.enter(x, method, channels=4, granule=8)
    return entered.snake(lambda: alpha.reshape(-1), None).leave()

  one, pull = jax.vjp(snake.snake, x, alpha)
  other, pull_other = jax.vjp(computed, x, alpha)
  for a, b in zip((one, *pull(x)), (other, *pull_other(x)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("longest", [stream.LINE, 1])
def test_a_stream_asks_for_alpha_once(longest):
  x, alpha = X.astype(np.float32), ALPHA.astype(np.float32)
  kept = {}

  def memory(collection, name, make):
    assert collection == "prepared"
    if name not in kept:
      kept[name] = make()
    return kept_as(kept[name])

  class kept_as:
    def __init__(self, value):
      self.value = value

  def parameters():
    asked.append(1)
    return alpha.reshape(-1)

  asked = []
  for _ in range(2):
    entered = signal.enter(x, stream.Stream(longest), channels=4, granule=1)
    y = entered.snake(parameters, memory).leave()
    np.testing.assert_array_equal(y, snake.snake(x, alpha))
  assert len(asked) == 1


def test_it_looks_no_further_back_than_elu(small_config):
  elu = small_config()
  assert soundstream.context(elu) == soundstream.context(
    small_config(**{"model.activation": "snake"})
  )


def test_its_kernels_start_as_those_of_elu_but_for_the_input_gain(small_config):
  key = jax.random.key(0)
  elu = soundstream.init(small_config(), key)
  other = soundstream.init(small_config(**{"model.activation": "snake"}), key)
  alphas = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(other):
    names = [part.key for part in path]
    if names[-1] == "alpha":
      assert (leaf == 1).all() and leaf.dtype == np.float32
      alphas += 1
      continue
    there = elu
    for name in names:
      there = there[name]
    gain = 1.0
    if names == ["encoder", "input", "kernel"]:
      gain = layers.INPUT_GAIN["elu"] / layers.INPUT_GAIN["snake"]
    np.testing.assert_allclose(gain * leaf, there, rtol=1e-6)
  # Two in each of three units, before the strided layer, and the last one.
  assert alphas == 2 * (6 + 1 + 1)


def test_an_input_gain_scales_the_first_kernel_alone(small_config):
  key = jax.random.key(0)
  usual = soundstream.init(small_config(), key)
  other = soundstream.init(small_config(**{"model.input_gain": 2.0}), key)
  first = other["encoder"]["input"]
  first["kernel"] = layers.INPUT_GAIN["elu"] / 2 * first["kernel"]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), usual, other
  )


def test_another_activation_is_refused(small_config):
  with pytest.raises(errors.InputError, match="'relu' is none of elu, snake"):
    small_config(**{"model.activation": "relu"})


def test_a_configuration_from_before_has_elu():
  values = config_lib.to_dict(config_lib.Config())
  del values["model"]["activation"]
  assert config_lib.from_dict(values).model.activation == "elu"
