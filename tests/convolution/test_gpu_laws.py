"""What a GPU's compiler is given by the method for GPUs, as text for CUDA.

The text is made on a CPU. docs/performance.md says what XLA does with the rest.
"""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.convolution import methods, signal
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.devices import distributed
from soundstream_jax.launch.preflight import lowered_text
from soundstream_jax.settings import presets
from soundstream_jax.train import step as step_lib
from tests.convolution import test_methods

PAPER = {
  "batch_size": 32,
  "data.crop_samples": 24_000,
  "model.compute_dtype": "bfloat16",
  "quantizer.num_quantizers": 8,
}
# In the wave discriminators, and elsewhere.
BUNDLES = re.compile(r"wave_\d/stage_\d")
# Of steps that are logged.
LOGGED = re.compile(r"\bcond/branch")


def lowered(function, *shapes):
  """Reads what a function becomes for CUDA."""
  traced = jax.jit(function).trace(*shapes)
  text = traced.lower(lowering_platforms=("cuda",)).as_text(debug_info=True)
  return lowered_text.read(text)


@functools.cache
def step(form):
  values = presets.load("soundstream_24khz")
  values.update_from_flattened_dict(PAPER | {"form": form})
  config = config_lib.from_dict(values)
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  function, arguments = step_lib.build(config, mesh)
  text = function.trace(*arguments).lower(lowering_platforms=("cuda",))
  return lowered_text.read(text.as_text(debug_info=True))


def flops(work, *, of_bundles):
  """Of the convolutions and products of a step that is not logged."""
  return sum(
    one.flops * one.rounds
    for one in work.convolutions + work.products
    if bool(BUNDLES.search(one.path)) is of_bundles
    and not LOGGED.search(one.path)
  )


def of_layer(case, form):
  """A layer with its gradients, of test_methods' CASES."""
  spec, space, inputs = case
  method = methods.METHODS[form]
  shapes = (
    (2, *space, inputs),
    (*spec.kernel, inputs // spec.groups, spec.features),
    (spec.features,),
  )

  def values_and_gradients(x, kernel, bias):
    def convolved(x, kernel, bias):
      entered = signal.enter(x, method, channels=inputs, granule=1)
      y = entered.convolved(spec, lambda: (kernel, bias), None, dtype=x.dtype)
      return y.leave()

    y, pull = jax.vjp(convolved, x, kernel, bias)
    return y, pull(y)

  return lowered(
    values_and_gradients,
    *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes),
  )


def _layer(space, size, strides, padding, inputs, outputs, groups):
  spec = spec_lib.Spec(outputs, size, strides, padding, groups=groups)
  return spec, space, inputs


LAYERS = {
  **{name: _layer(*case) for name, case in test_methods.CASES.items()},
  **{name: (spec, (40,), 3) for name, spec in test_methods.CAUSAL.items()},
}


@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())
def test_no_layer_is_dilated_or_grouped_where_cudnn_has_no_kernel_for_it(case):
  work = of_layer(case, "gpu")
  assert work.gpu_faults() == []
  for one in work.convolutions:
    assert not one.kinds & {"grouped", "batch_grouped"}
    if "dilated_kernel" in one.kinds:
      assert one.is_weight_gradient
    if "dilated_input" in one.kinds:
      assert one.is_input_gradient


@pytest.mark.parametrize("name", ["dilated-9", "up-4", "grouped-strided"])
def test_the_definition_breaks_the_law(name):
  assert of_layer(LAYERS[name], "plain").gpu_faults()


def test_a_step_of_the_papers_size_has_no_such_layer_and_few_calls():
  work = step("gpu")
  assert work.gpu_faults() == []
  assert len(work.convolutions) <= 600
  assert len(step("plain").gpu_faults()) > 100


def test_what_is_multiplied_by_zeros_is_bounded():
  useful, executed = step("plain"), step("gpu")
  ratio = flops(executed, of_bundles=False) / flops(useful, of_bundles=False)
  assert 1 <= ratio < 1.1
  assert flops(executed, of_bundles=True) <= 2.5e12
