"""Laws of what the compiler makes of a step for an H100 that is not there.

`make test-gpu-compiler` runs them, in an environment with that compiler.
"""

import collections

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from soundstream_jax import config as config_lib
from soundstream_jax.devices import distributed
from soundstream_jax.launch.preflight import (
  gpu_calls,
  gpu_targets,
  lowered_text,
  program_cost,
  programs,
  topologies,
)

pytestmark = pytest.mark.gpu_compiler
NUMBERS = ("NWC", "WIO", "NWC")


def compiled(function, *shapes, topology="h100:1"):
  """The gradient of a function's squared result, for a GPU that is elsewhere."""
  topology = topologies.parse(topology)
  topologies.prepare(topology)
  devices = topologies.devices(topology)
  mesh = distributed.make_mesh(config_lib.Mesh(), devices)
  whole, split = (
    NamedSharding(mesh, PartitionSpec(*axes))
    for axes in ((), (("data", "fsdp"),))
  )
  shardings = (split, *(whole for _ in shapes[1:]))

  def total(*arrays):
    return jnp.sum(jnp.square(function(*arrays).astype(jnp.float32)))

  gradient = jax.grad(total, argnums=tuple(range(len(shapes))))
  lowered = jax.jit(
    gradient, in_shardings=shardings, out_shardings=shardings
  ).lower(*(jax.ShapeDtypeStruct(s, jnp.bfloat16) for s in shapes))
  text = lowered.compile(compiler_options=topology.compiler_options).as_text()
  return lowered.as_text(debug_info=True), text


def kinds(text):
  return collections.Counter(
    call.kind for call in gpu_calls.read(text) if call.library == "cudnn"
  )


def dilated(x, kernel, d=3):
  pad = [((kernel.shape[0] - 1) * d, 0)]
  return lax.conv_general_dilated(
    x, kernel, (1,), pad, rhs_dilation=(d,), dimension_numbers=NUMBERS
  )


def as_rows(x, kernel, d=3):
  batch, length, width = x.shape
  y = lax.conv_general_dilated(
    jnp.reshape(x, (batch, length // d, d, width)),
    jnp.expand_dims(kernel, 1),
    (1, 1),
    [(kernel.shape[0] - 1, 0), (0, 0)],
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return jnp.reshape(y, (batch, length, -1))


SHAPES = ((8, 300, 32), (7, 32, 16))


def test_a_dilated_layer_breaks_the_laws_and_one_as_rows_keeps_them():
  lowered, bad = compiled(dilated, *SHAPES)
  assert kinds(bad) == {"filled": 2, "whole_clip": 1}
  assert len(lowered_text.read(lowered).gpu_faults()) == 3
  lowered, good = compiled(as_rows, *SHAPES)
  assert kinds(good) == {"ordinary": 3}
  assert lowered_text.read(lowered).gpu_faults() == []
  # A filled kernel executes its zeros, 19 taps for 7.
  work = lowered_text.read(lowered).flops
  assert program_cost.of(bad).flops > 1.9 * program_cost.of(good).flops
  assert 1 <= program_cost.of(good).flops / work < 1.1


def test_a_strided_layer_is_what_cudnn_calls_it():
  def strided(x, kernel):
    return lax.conv_general_dilated(
      x, kernel, (4,), [(4, 0)], dimension_numbers=NUMBERS
    )

  _, text = compiled(strided, (8, 400, 32), (8, 32, 64))
  assert {call.what for call in gpu_calls.read(text)} == {
    *("Forward", "BackwardInput", "BackwardFilter")
  }
  assert kinds(text) == {"strided": 3}


@pytest.mark.parametrize(("length", "is_filled"), [(164, True), (192, False)])
def test_a_cotangent_no_longer_than_the_kernel_is_filled(length, is_filled):
  def strided(x, kernel):
    return lax.conv_general_dilated(
      x, kernel, (4,), [(20, 20)], dimension_numbers=NUMBERS
    )

  lowered, text = compiled(strided, (8, length, 16), (41, 16, 32))
  assert bool(gpu_calls.faults(gpu_calls.read(text))) is is_filled
  assert bool(lowered_text.read(lowered).gpu_faults()) is is_filled


@pytest.mark.parametrize("kind", gpu_targets.GPUS)
def test_every_gpu_of_the_table_can_be_compiled_for(kind):
  one = topologies.parse(f"{kind}:1")
  assert topologies.devices(one)[0].device_kind == one.gpu.description
  _, text = compiled(as_rows, *SHAPES, topology=f"{kind}:8")
  # The kernel's gradient alone is summed over devices.
  (moved,) = program_cost.of(text).collective_bytes().items()
  assert moved == ("all-reduce", 2 * 7 * 32 * 16)


def test_gpus_of_several_hosts_belong_to_several_processes():
  devices = topologies.devices(topologies.parse("h100:2x8"))
  assert [d.process_index for d in devices] == [0] * 8 + [1] * 8


# Crops so long that no layer's result is shorter than its kernel.
FIELDS = {
  "batch_size": 8,
  "mesh.data": -1,
  "model.compute_dtype": "bfloat16",
  "data.crop_samples": 24_000,
  "discriminator.stft_window": 1024,
  "discriminator.stft_hop": 256,
}


def step(small_config, form, topology):
  config = small_config(**FIELDS, form=form)
  topology = topologies.parse(topology)
  lowered = programs.lower(config, topology, "step").lowered
  return lowered.compile(compiler_options=topology.compiler_options).as_text()


def test_the_definition_breaks_every_law_in_a_step(small_config):
  found = gpu_calls.read(step(small_config, "plain", "h100:1"))
  assert {*gpu_calls.BAD_KINDS} <= {call.kind for call in found}
  assert len(gpu_calls.faults(found)) > 20


def test_the_method_for_gpus_keeps_every_law_in_a_step(small_config):
  text = step(small_config, "gpu", "h100:8")
  found = gpu_calls.read(text)
  assert gpu_calls.faults(found) == []
  assert sum(call.library == "cudnn" for call in found) > 50
  # Devices sum gradients and statistics, and gather nothing.
  assert {*program_cost.of(text).collective_bytes()} == {"all-reduce"}
