"""Dense forms against XLA's own strided and grouped convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from soundstream_jax.model import dense_convolution


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


# These programs run once, so compiling them quickly matters more.
QUICK = {"xla_backend_optimization_level": 0}


def direct(x, kernel, strides, padding, groups):
  letters = "HW"[-len(strides) :]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=strides,
    padding=padding,
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    feature_group_count=groups,
    precision=lax.Precision.HIGHEST,
  )


# space, kernel, strides, padding, channels in and out, groups
CASES = {
  "plain": ((30,), (5,), (1,), ((2, 2),), 40, 20, 1),
  "narrow": ((30,), (15,), (1,), ((0, 0),), 1, 4, 1),
  "narrow-strided": ((37,), (7,), (3,), ((1, 4),), 2, 3, 1),
  "narrow-one-output": ((3,), (3,), (1,), ((0, 0),), 4, 2, 1),
  "strided": ((40,), (41,), (4,), ((20, 20),), 4, 16, 1),
  "strided-odd-length": ((43,), (41,), (4,), ((20, 20),), 4, 16, 1),
  "stride-beyond-kernel": ((43,), (3,), (5,), ((0, 0),), 20, 6, 1),
  "grouped": ((33,), (5,), (1,), ((2, 2),), 32, 64, 8),
  "grouped-strided": ((33,), (9,), (4,), ((4, 4),), 128, 64, 32),
  "grouped-odd-blocks": ((33,), (9,), (4,), ((4, 4),), 92, 23, 23),
  "grouped-wide": ((33,), (9,), (2,), ((4, 4),), 200, 6, 2),
  "depthwise": ((20,), (3,), (1,), ((1, 1),), 6, 12, 6),
  "plane-first": ((11, 24), (7, 7), (1, 1), ((3, 3), (3, 3)), 2, 4, 1),
  "plane-narrow": ((11, 16), (3, 4), (1, 2), ((1, 1), (1, 1)), 4, 8, 1),
  "plane-both": ((11, 15), (4, 4), (2, 2), ((1, 2), (1, 2)), 8, 16, 1),
  "plane-wide": ((10, 12), (4, 4), (2, 2), ((1, 1), (1, 1)), 24, 32, 1),
  "plane-grouped": ((9, 9), (3, 3), (2, 1), ((1, 1), (1, 1)), 16, 8, 4),
  "plane-last": ((5, 8), (1, 8), (1, 1), ((0, 0), (0, 0)), 64, 1, 1),
}


@pytest.mark.parametrize("form", ["plain", "blocks", "rows", "lanes"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_values_and_gradients_equal_lax(case, form):
  space, size, strides, padding, inputs, outputs, groups = case
  rng = np.random.default_rng(0)

  def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)

  x = normal(2, *space, inputs)
  kernel = normal(*size, inputs // groups, outputs)
  shape = jax.eval_shape(
    lambda: direct(x, kernel, strides, padding, groups)
  ).shape
  cotangent = normal(*shape)

  def run(convolve):
    def values_and_gradients(x, kernel):
      y, pull = jax.vjp(convolve, x, kernel)
      return y, *pull(cotangent)

    return jax.jit(values_and_gradients, compiler_options=QUICK)(x, kernel)

  expected = run(lambda x, k: direct(x, k, strides, padding, groups))
  actual = run(
    lambda x, k: dense_convolution.convolve(
      x, k, strides=strides, padding=padding, groups=groups, form=form
    )
  )
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max())


@pytest.mark.parametrize(
  ("form", "inputs", "groups", "merged_inputs", "blocks"),
  [
    ("lanes", 4, 32, 64, 2),
    ("blocks", 4, 32, 16, 8),
    ("blocks", 4, 256, 64, 16),  # never more convolutions than 16
    ("blocks", 32, 4, 32, 4),
    ("lanes", 4, 1, 4, 1),
  ],
)
def test_merged_groups_fill_blocks_and_keep_the_weights(
  form, inputs, groups, merged_inputs, blocks
):
  kernel = np.ones((3, inputs, 2 * groups), np.float32)
  merged, count = dense_convolution.merge_groups(kernel, groups, form=form)
  assert count == blocks
  assert merged.shape == (3, merged_inputs, 2 * groups)
  assert np.sum(merged) == np.sum(kernel)


def conv_with_params(*, weight_norm, kernel=None):
  """A layer and parameters whose scale is the norm of their kernel."""
  conv = dense_convolution.Conv(6, (3,), groups=2, weight_norm=weight_norm)
  if kernel is None:
    kernel = np.random.default_rng(0).standard_normal((3, 4, 6))
  params = {"kernel": kernel, "bias": np.arange(6.0)}
  if weight_norm:
    params["scale"] = np.sqrt(np.sum(kernel**2, axis=(0, 1)))
  params = {k: v.astype(np.float32) for k, v in params.items()}
  return jax.jit(conv.apply), params


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
