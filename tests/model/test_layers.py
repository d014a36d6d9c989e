"""Block forms equal the obvious ones; nothing sees the future."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from soundstream_jax.convolution import two_taps as causal
from soundstream_jax.model import film as film_lib
from soundstream_jax.model import (
  initialise,
)


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _obvious_strided(x, kernel, stride):
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride,),
    ((stride, 0),),
    dimension_numbers=("NWC", "WIO", "NWC"),
  )


def _obvious_transposed(x, kernel, stride):
  full = lax.conv_general_dilated(
    x,
    kernel[::-1],
    (1,),
    ((2 * stride - 1, 2 * stride - 1),),
    lhs_dilation=(stride,),
    dimension_numbers=("NWC", "WIO", "NWC"),
  )
  return full[:, : x.shape[1] * stride]


@pytest.mark.parametrize("stride", [1, 2, 5, 8])
@pytest.mark.parametrize(
  ("block", "obvious"),
  [
    (causal.strided_conv, _obvious_strided),
    (causal.transposed_conv, _obvious_transposed),
  ],
)
def test_block_form_equals_obvious_form_in_values_and_gradients(
  stride, block, obvious
):
  x, kernel = _normal(0, 2, 6 * stride, 3), _normal(1, 2 * stride, 3, 4)

  def both(function):
    def loss(x, kernel):
      y = function(x, kernel)
      return jnp.sum(jnp.sin(y)), y

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(x, kernel)

  (_, ours), our_gradients = both(lambda x, k: block(x, k, stride=stride))
  (_, theirs), their_gradients = both(lambda x, k: obvious(x, k, stride))
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
  for a, b in zip(our_gradients, their_gradients, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)


def test_dilated_convolution_equals_its_sum_over_taps():
  x, kernel = _normal(0, 2, 40, 3), _normal(1, 7, 3, 4)
  ours = causal.causal_conv(x, kernel, dilation=3)
  expected = np.zeros((2, 40, 4), np.float32)
  for tap in range(7):
    delay = (6 - tap) * 3
    delayed = np.pad(x, ((0, 0), (delay, 0), (0, 0)))[:, :40]
    expected += delayed @ kernel[tap]
  np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


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
