"""Laws of `benchmarks.gpu.measuring`: layers, ways to write them, and traces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import layers, questions, traces, variants
from soundstream_jax.convolution import methods
from soundstream_jax.convolution import spec as spec_lib

# A specification and the shape of an input, by question.
CASES = {
  "groups": (
    spec_lib.Spec(64, (41,), (4,), ((20, 20),), groups=16),
    (2, 95, 64),
  ),
  "one channel": (spec_lib.causal(8, 7), (2, 101, 1)),
  "to one channel": (spec_lib.causal(1, 7), (2, 101, 16)),
  "planes of two channels": (
    spec_lib.Spec(6, (7, 7), padding=((3, 3), (3, 3))),
    (2, 11, 16, 2),
  ),
  "pointwise": (spec_lib.Spec(6, (1, 1), strides=(2, 2)), (2, 11, 16, 4)),
  "dilated": (spec_lib.causal(6, 7, dilation=9), (2, 101, 4)),
  "transposed": (spec_lib.upsampling(6, 5), (2, 31, 4)),
  "strided": (spec_lib.downsampling(6, 5), (2, 100, 4)),
}


def tiny(batch=2):
  return conditions_lib.Conditions(
    device="cpu",
    preset="tiny",
    batch=batch,
    layers=8,
    form="auto",
    steps=2,
    overrides={},
    cache="",
    torch_python="",
  )


def values_and_gradients(function, spec, x, kernel):
  @jax.jit
  def all_three(x, kernel):
    y, back = jax.vjp(lambda x, k: function(x, k, spec), x, kernel)
    cotangent = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return y, *back(cotangent)

  return all_three(x, kernel)


@pytest.mark.parametrize("question", variants.OF)
def test_all_ways_to_write_a_layer_are_one_function(question):
  spec, shape = CASES[question]
  assert variants.fits(question, spec, shape[-1])
  x = layers.noise(shape, jnp.float32)
  kernel = layers.noise(
    (*spec.kernel, shape[-1] // spec.groups, spec.features), jnp.float32
  )
  wanted = values_and_gradients(variants.as_written, spec, x, kernel)
  for name, function in variants.OF[question].items():
    found = values_and_gradients(function, spec, x, kernel)
    for one, other in zip(found, wanted, strict=True):
      scale = float(jnp.max(jnp.abs(other)))
      np.testing.assert_allclose(
        one, other, atol=1e-5 * scale, rtol=0, err_msg=name
      )


def test_blocks_that_are_the_same_are_measured_once():
  ways = {
    channels: list(
      variants.ways(
        "groups",
        spec_lib.Spec(features, (41,), (4,), ((20, 20),), groups=channels // 4),
      )
    )
    for channels, features in ((16, 64), (64, 256), (256, 1024))
  }
  dense = ["as written", "64, split", "64, grouped, folded"]
  assert ways[16] == ways[64] == dense
  assert ways[256] == list(variants.OF["groups"])


def test_a_flag_that_xla_does_not_know_is_told_from_one_that_it_does():
  assert questions._is_known({"xla_cpu_enable_fast_math": False})
  assert not questions._is_known({"xla_gpu_no_such_thing": True})


def test_every_method_has_the_layers_of_the_model():
  config = tiny().config()
  plain = layers.of_model(config, methods.METHODS["plain"])
  names = [layer.name for layer in plain]
  assert "encoder/stage0_unit2/dilated" in names and "wave_0/mix" in names
  assert sum(layer.count for layer in plain) > len(plain)
  for method in methods.METHODS.values():
    found = layers.of_model(config, method)
    assert [layer.name for layer in found] == names
    assert [layer.flops for layer in found] == [one.flops for one in plain]


def test_the_products_of_a_layer_are_those_that_xla_counts():
  plain = {
    layer.name: layer
    for layer in layers.of_model(tiny().config(), methods.METHODS["plain"])
  }
  for name in ("wave_0/stage_1", "encoder/stage1_down", "stft/unit_2/second"):
    layer = plain[name]
    kernel = jax.ShapeDtypeStruct(layer.kernel_shape, jnp.bfloat16)
    compiled = (
      jax.jit(lambda x, k, s=layer.spec: variants.as_written(x, k, s))
      .lower(layer.x.values, kernel)
      .compile()
    )
    # XLA leaves out what meets padding, and adds conversions of bfloat16.
    counted = compiled.cost_analysis()["flops"]
    assert 0.85 * layer.flops < counted <= 1.05 * layer.flops


def test_a_step_of_twice_the_clips_has_twice_the_products():
  one, two = (layers.step_flops(tiny(n).config()) for n in (1, 2))
  assert two == 2 * one > 0


@pytest.mark.parametrize("form", ["plain", "lanes"])
def test_a_layer_is_timed_as_its_method_lays_it_out(form):
  found = layers.of_model(tiny().config(), methods.METHODS[form])
  layer = next(one for one in found if one.name == "encoder/input")
  entry = layers.measure(layer)
  assert entry["forward_s"] > 0 and entry["kernel_tflops"] > 0
  np.testing.assert_allclose(
    entry["input_gb_per_s"],
    layer.bytes / entry["input_s"] / 1e9,
    atol=0.01,
  )


def test_a_trace_of_a_program_becomes_tables(tmp_path):
  @jax.jit
  def step(x):
    with jax.named_scope("encoder"):
      y = jnp.tanh(x @ x)
    with jax.named_scope("wave_0"):
      y = y @ jnp.sin(y)
    return jnp.sum(y, axis=0)

  x = jnp.ones((256, 256))
  text = step.lower(x).compile().as_text()
  step(x).block_until_ready()

  def run():
    for _ in range(3):
      step(x).block_until_ready()

  path = traces.record(run, folder=str(tmp_path))
  found = traces.reduce(traces.read(path), text, steps=3, platform="cpu")
  assert found["kernels_ms"] > 0 and len(found["top"]) <= traces.TOP
  assert {"encoder, forward", "wave_0, forward"} <= set(found["modules_ms"])
  for name in ("modules_ms", "kinds_ms", "modules_and_kinds_ms"):
    assert sum(found[name].values()) == pytest.approx(
      found["kernels_ms"], abs=0.01
    )
  assert sum(row["share"] for row in found["top"]) <= 1.001
  assert 0 < found["busy_share"] <= 1


GPU = """
planes {
  name: "/host:CPU"
  lines { name: "python" events { metadata_id: 1 duration_ps: 9000000000 } }
  event_metadata { key: 1 value { id: 1 name: "PjitFunction(step)" } }
}
planes {
  name: "/device:GPU:0"
  lines {
    name: "Stream #14(Compute)"
    events { metadata_id: 1 offset_ps: 0 duration_ps: 4000000000
      stats { metadata_id: 1 str_value: "conv.7" } }
    events { metadata_id: 2 offset_ps: 5000000000 duration_ps: 1000000000 }
    events { metadata_id: 3 offset_ps: 6000000000 duration_ps: 2000000000 }
  }
  lines {
    name: "XLA Modules"
    events { metadata_id: 4 offset_ps: 0 duration_ps: 8000000000 }
  }
  event_metadata { key: 1 value { id: 1 name: "sm90_xmma_dgrad_nhwc" } }
  event_metadata { key: 2 value { id: 2 name: "input_reduce_fusion_3" } }
  event_metadata { key: 3 value { id: 3 name: "nvjet_tst_128x64" } }
  event_metadata { key: 4 value { id: 4 name: "jit_step" } }
  stat_metadata { key: 1 value { id: 1 name: "hlo_op" } }
}
"""
TEXT = """\
ENTRY %main (p: f32[2]) -> f32[2] {
  %conv.7 = (f32[2]{0}, u8[0]{0}) custom-call(%p), custom_call_target="__cudnn$convBackwardInput", metadata={op_name="jit(step)/transpose(jvp(Discriminator))/stft/first/conv"}
  ROOT %input_reduce_fusion.3 = f32[2]{0} fusion(%g), kind=kInput, calls=%f, metadata={op_name="jit(step)/jvp()/reduce_sum"}
}
"""


def test_of_a_gpu_the_kernels_of_its_streams_count_once():
  profile = jax.profiler.ProfileData.from_text_proto(GPU)
  found = traces.reduce(traces.kernels(profile), TEXT, steps=2, platform="gpu")
  assert found["kernels_per_step"] == 1.5
  assert found["modules_ms"] == {
    "stft, backward": 2.0,
    "unknown": 1.0,
    "losses, forward": 0.5,
  }
  assert found["kinds_ms"] == {
    "convolution, input's gradient": 2.0,
    "product": 1.0,
    "reduction": 0.5,
  }
  assert (found["wall_ms"], found["idle_ms"]) == (4.0, 0.5)
  (gap,) = found["gaps"]
  assert gap == {
    "us": 1000.0,
    "after": "sm90_xmma_dgrad_nhwc",
    "before": "input_reduce_fusion_3",
  }


def test_kernels_that_run_at_once_leave_no_gap():
  spans = [(0, 100_000, "a"), (10_000, 20_000, "b"), (90_000, 200_000, "c")]
  found = traces.gaps(spans, steps=1)
  assert (found["busy_share"], found["gaps"]) == (1.0, [])
  late = traces.gaps([*spans, (300_000, 400_000, "d")], steps=1)
  assert late["gaps"] == [{"us": 100.0, "after": "c", "before": "d"}]
  assert late["busy_share"] == 0.75
