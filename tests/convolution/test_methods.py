"""Every method gives the sums of the definition, in values and gradients."""

import jax
import numpy as np
import pytest
from jax import lax

from soundstream_jax.convolution import groups as groups_lib
from soundstream_jax.convolution import methods, plain, signal
from soundstream_jax.convolution import spec as spec_lib


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


# These programs run once, so compiling them quickly matters more.
QUICK = {"xla_backend_optimization_level": 0}


def reference(x, kernel, bias, spec):
  """What a spec says, as one call of lax."""
  padding, strides, spread = spec.padding, spec.strides, (1,) * spec.axes
  if spec.transposed:
    kernel, spread, strides = kernel[::-1], spec.strides, (1,)
    padding = ((spec.kernel[0] - 1, spec.kernel[0] - 1),)
  letters = "HW"[-spec.axes :]
  y = lax.conv_general_dilated(
    x,
    kernel,
    window_strides=strides,
    padding=padding,
    lhs_dilation=spread,
    rhs_dilation=(spec.dilation,) * spec.axes,
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    feature_group_count=spec.groups,
    precision=lax.Precision.HIGHEST,
  )
  if spec.transposed:
    y = y[:, : x.shape[1] * spec.stride]
  return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def convolve(x, kernel, bias, spec, *, method, granule=1):
  """The same as a network has it: entered, convolved, left."""
  entered = signal.enter(x, method, channels=x.shape[-1], granule=granule)
  y = entered.convolved(spec, lambda: (kernel, bias), None, dtype=kernel.dtype)
  assert y.space == y.leave().shape[1:-1]
  assert y.channels == y.leave().shape[-1]
  return y.leave()


def normal(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.standard_normal(shape).astype(np.float32)


def assert_same(spec, space, inputs, **how):
  """Holds values and gradients of a method to 1e-5 of the reference."""
  x = normal(2, *space, inputs)
  kernel = normal(*spec.kernel, inputs // spec.groups, spec.features, seed=1)
  bias = normal(spec.features, seed=2)
  shape = jax.eval_shape(lambda: reference(x, kernel, bias, spec)).shape
  assert shape == (2, *spec.outputs(space), spec.features)
  cotangent = normal(*shape, seed=3)

  def run(function):
    def values_and_gradients(*arguments):
      y, pull = jax.vjp(function, *arguments)
      return y, *pull(cotangent)

    jitted = jax.jit(values_and_gradients, compiler_options=QUICK)
    return jitted(x, kernel, bias)

  expected = run(lambda *arguments: reference(*arguments, spec))
  actual = run(lambda *arguments: convolve(*arguments, spec, **how))
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max())


METHODS = pytest.mark.parametrize("form", methods.METHODS)


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


@METHODS
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_any_convolution_equals_lax(case, form):
  space, size, strides, padding, inputs, outputs, groups = case
  spec = spec_lib.Spec(outputs, size, strides, padding, groups=groups)
  assert_same(spec, space, inputs, method=methods.METHODS[form])


CAUSAL = {
  "pointwise": spec_lib.causal(8, 1),
  "two-taps": spec_lib.causal(5, 2),
  "dilated-1": spec_lib.causal(5, 7),
  "dilated-9": spec_lib.causal(5, 7, dilation=9),
  **{f"down-{s}": spec_lib.downsampling(5, s) for s in (1, 2, 4, 5)},
  **{f"up-{s}": spec_lib.upsampling(5, s) for s in (1, 2, 4, 5)},
  "up-narrow": spec_lib.upsampling(2, 8),
}


@METHODS
@pytest.mark.parametrize("spec", CAUSAL.values(), ids=CAUSAL.keys())
def test_a_causal_convolution_equals_lax(spec, form):
  method = methods.METHODS[form]
  assert_same(spec, (40,), 3, method=method)


@pytest.mark.parametrize("granule", [2, 8, 40])
@pytest.mark.parametrize("spec", CAUSAL.values(), ids=CAUSAL.keys())
def test_a_folded_signal_is_convolved_as_it_lies(spec, granule):
  method = methods.METHODS["lanes"]
  assert_same(spec, (80,), 3, method=method, granule=granule)


@pytest.mark.parametrize("time", [1, 7, 200])
@pytest.mark.parametrize("form", ["blocks", "rows"])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 3)])
def test_gradients_of_short_and_tall_signals(form, inputs, outputs, time):
  method = methods.METHODS[form]
  for spec in (spec_lib.causal(outputs, 1), spec_lib.causal(outputs, 2)):
    assert_same(spec, (time,), inputs, method=method)


def test_a_dilated_convolution_is_its_sum_over_taps():
  x, kernel = normal(2, 40, 3), normal(7, 3, 4, seed=1)
  ours = plain.convolve(x, kernel, spec_lib.causal(4, 7, dilation=3))
  expected = np.zeros((2, 40, 4), np.float32)
  for tap in range(7):
    delay = (6 - tap) * 3
    delayed = np.pad(x, ((0, 0), (delay, 0), (0, 0)))[:, :40]
    expected += delayed @ kernel[tap]
  np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("most", "inputs", "groups", "merged_inputs", "bundles"),
  [
    ((64, None), 4, 32, 64, 2),
    ((16, 16), 4, 32, 16, 8),
    ((16, 16), 4, 256, 64, 16),  # never more bundles than 16
    ((16, 16), 32, 4, 32, 4),
    ((64, None), 4, 1, 4, 1),
  ],
)
def test_merged_groups_fill_bundles_and_keep_the_weights(
  most, inputs, groups, merged_inputs, bundles
):
  kernel = np.ones((3, inputs, 2 * groups), np.float32)
  merged, count = groups_lib.merge(
    kernel, groups, inputs_per_bundle=most[0], most_bundles=most[1]
  )
  assert count == bundles
  assert merged.shape == (3, merged_inputs, 2 * groups)
  assert np.sum(merged) == np.sum(kernel)


@pytest.mark.parametrize(
  ("avx512", "form"), [(False, "blocks"), (True, "rows")]
)
def test_auto_is_by_device(avx512, form, monkeypatch):
  monkeypatch.setattr(methods, "has_avx512", lambda: avx512)
  named = methods.METHODS
  assert methods.choose("auto", "tpu") is named["lanes"]
  assert methods.choose("auto", "gpu") is named["gpu"]
  assert methods.choose("auto", "metal") is named["blocks"]
  assert methods.choose("auto", "cpu") is named[form]
  assert methods.choose("auto") is named[form]
  assert methods.choose("plain", "tpu") is named["plain"]
