"""Layers with parameters: weight norm, FiLM, and what they start from."""

import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax.convolution import plain, signal
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.model import film as film_lib
from soundstream_jax.model import initialise, layers


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def conv_with_params(*, weight_norm, kernel=None):
  """A layer and parameters whose scale is the norm of their kernel."""
  spec = spec_lib.Spec(6, (3,), groups=2)
  conv = layers.Conv(spec, weight_norm=weight_norm)
  if kernel is None:
    kernel = np.random.default_rng(0).standard_normal((3, 4, 6))
  params = {"kernel": kernel, "bias": np.arange(6.0)}
  if weight_norm:
    params["scale"] = np.sqrt(np.sum(kernel**2, axis=(0, 1)))
  params = {k: v.astype(np.float32) for k, v in params.items()}

  def apply(variables, x):
    x = signal.enter(x, plain.Plain(), channels=6, granule=1)
    return conv.apply(variables, x).leave()

  return jax.jit(apply), params


X = np.random.default_rng(1).standard_normal((2, 20, 8)).astype(np.float32)


def test_weight_norm_with_the_norm_as_scale_is_the_plain_layer():
  plain, plain_params = conv_with_params(weight_norm=False)
  normed, normed_params = conv_with_params(weight_norm=True)
  np.testing.assert_allclose(
    normed({"params": normed_params}, X),
    plain({"params": plain_params}, X),
    rtol=1e-5,
    atol=1e-5,
  )


def test_with_weight_norm_the_kernel_is_a_direction_and_scale_a_gain():
  apply, params = conv_with_params(weight_norm=True)
  params["bias"] = np.zeros(6, np.float32)
  longer = {**params, "kernel": np.float32(5) * params["kernel"]}
  louder = {**params, "scale": np.float32(5) * params["scale"]}
  y = apply({"params": params}, X)
  np.testing.assert_allclose(
    apply({"params": longer}, X), y, rtol=1e-5, atol=1e-5
  )
  np.testing.assert_allclose(
    apply({"params": louder}, X), 5 * y, rtol=1e-5, atol=5e-5
  )


def test_the_gradient_of_a_direction_is_orthogonal_to_it():
  apply, params = conv_with_params(weight_norm=True)
  slope = jax.grad(lambda p: jnp.sum(jnp.square(apply({"params": p}, X))))(
    params
  )["kernel"]
  slope = np.asarray(slope)
  along = np.sum(slope * params["kernel"], axis=(0, 1))
  length = np.sqrt(np.sum(np.square(slope), axis=(0, 1)))
  assert (length > 1).all()
  np.testing.assert_allclose(along / length, 0.0, atol=1e-4)


def test_a_zero_kernel_with_weight_norm_has_finite_gradients():
  apply, params = conv_with_params(weight_norm=True, kernel=np.zeros((3, 4, 6)))
  slopes = jax.jit(jax.grad(lambda p: jnp.sum(apply({"params": p}, X))))(params)
  assert all(np.isfinite(s).all() for s in jax.tree.leaves(slopes))


def test_film_starts_by_switching_a_quarter_off_and_follows_its_condition():
  film = film_lib.Film()
  x = jnp.asarray(_normal(0, 2, 3, 4))
  condition = jnp.asarray([True, False])
  params = initialise.draw(
    film.init(jax.random.key(0), x, condition), jax.random.key(0)
  )
  y = film.apply(params, x, condition)
  np.testing.assert_array_equal(y[1], x[1])
  np.testing.assert_array_equal(y[0, :, :3], x[0, :, :3])
  np.testing.assert_array_equal(y[0, :, 3:], 0)
  params["params"]["scale"] = np.asarray([[1.0] * 4, [2.0] * 4], np.float32)
  y = film.apply(params, x, condition)
  np.testing.assert_array_equal(y[0], 2 * x[0])
  np.testing.assert_array_equal(y[1], x[1])
  per_frame = jnp.asarray([[False, True, False]] * 2)
  z = film.apply(params, x, per_frame)
  np.testing.assert_array_equal(z[:, 1], 2 * x[:, 1])
  np.testing.assert_array_equal(z[:, 0], x[:, 0])


def test_drawn_values_have_the_declared_distribution_and_one_stream():
  declared = {
    "a": initialise.normal(0.5)(None, (300, 40)),
    "b": initialise.constant(2.0)(None, (3,)),
  }
  drawn = initialise.draw(declared, jax.random.key(1))
  again = initialise.draw(declared, jax.random.key(1))
  other = initialise.draw(declared, jax.random.key(2))
  assert abs(drawn["a"].std() - 0.5) < 0.01
  assert abs(drawn["a"].mean()) < 0.01
  np.testing.assert_array_equal(drawn["b"], 2.0)
  np.testing.assert_array_equal(drawn["a"], again["a"])
  assert np.any(drawn["a"] != other["a"])
