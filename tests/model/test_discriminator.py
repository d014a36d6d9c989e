"""Discriminators: counts, shapes, layer by layer references, gradients."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from soundstream_jax import config, errors
from soundstream_jax.convolution import methods, signal
from soundstream_jax.model import (
  discriminator,
  stft_discriminator,
  wave_discriminator,
)

SMALL = config.Discriminator(
  wave_scales=2,
  wave_channels=4,
  wave_max_channels=16,
  stft_channels=2,
  stft_window=128,
  stft_hop=32,
)
SAMPLES = 1_600
METHOD = methods.METHODS["blocks"]
# These programs run once, so compiling them quickly matters more.
QUICK = {"xla_backend_optimization_level": 0}


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


def count(params):
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def abstract_params(module, samples=24_000):
  return shapes(module, jax.ShapeDtypeStruct((1, samples, 1), jnp.float32))


def shapes(module, *arguments):
  """Shapes of a module's parameters; nothing is computed."""
  declared = jax.eval_shape(module.init, jax.random.key(0), *arguments)
  return nn.meta.unbox(declared["params"])


def noise(*shape, seed=0):
  values = np.random.default_rng(seed).standard_normal(shape)
  return (0.1 * values).astype(np.float32)


def random_params(module, *arguments):
  """Parameters without a compiled init; biases off 0 and scales off 1."""
  rng = np.random.default_rng(7)

  def values(path, leaf):
    spread = rng.standard_normal(leaf.shape)
    name = path[-1].key
    if name == "kernel":
      spread /= np.sqrt(np.prod(leaf.shape[:-1]))
    else:
      spread = 0.1 * spread + (name == "scale")
    return spread.astype(np.float32)

  return jax.tree_util.tree_map_with_path(values, shapes(module, *arguments))


def entered(x):
  """x [B, N, F, C] as the STFT network's units take it."""
  return signal.enter(x, METHOD, channels=x.shape[-1], granule=1)


def apply(module):
  """A unit as a function of arrays."""
  return lambda params, x: module.apply(params, entered(x)).leave()


# Counts and shapes of the paper's sizes.


def test_the_counts_without_normalisation_are_those_of_the_layer_tables():
  plain = dataclasses.replace(
    config.Discriminator(), wave_norm="none", stft_norm="none"
  )
  params = abstract_params(discriminator.Discriminator(plain, METHOD))
  assert set(params) == {"stft", "wave_0", "wave_1", "wave_2"}
  for scale in range(3):
    assert count(params[f"wave_{scale}"]) == 5_637_953
  assert round(count(params["stft"]) / 1e6, 2) == 5.55


@pytest.mark.parametrize(
  ("field", "norm"),
  [("wave_norm", "weight"), ("stft_norm", "layer"), ("stft_norm", "weight")],
)
def test_a_normalisation_adds_scales_and_biases_alone(field, norm):
  def paths(**norms):
    params = abstract_params(
      discriminator.Discriminator(dataclasses.replace(SMALL, **norms), METHOD),
      SAMPLES,
    )
    return {
      jax.tree_util.keystr(path): leaf.shape
      for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }

  without = paths(wave_norm="none", stft_norm="none")
  added = paths(**{"wave_norm": "none", "stft_norm": "none", field: norm})
  assert without.items() < added.items()
  for path in added.keys() - without.keys():
    assert path.endswith(("['scale']", "['bias']"))
    assert len(added[path]) == 1


def test_logits_of_one_second_have_the_expected_steps():
  module = discriminator.Discriminator(config.Discriminator(), METHOD)
  outputs, _ = jax.eval_shape(
    module.init_with_output,
    jax.random.key(0),
    jax.ShapeDtypeStruct((2, 24_000, 1), jnp.float32),
  )
  # 90 frames halved three times; 24000, 12000 and 6000 samples over 256.
  assert [o.logits.shape for o in outputs] == [
    (2, 12, 1), (2, 94, 1), (2, 47, 1), (2, 24, 1),
  ]  # fmt: skip
  assert [f.shape for f in outputs[0].features] == [
    (2, 90, 512, 32),
    (2, 90, 256, 64),
    (2, 45, 128, 128),
    (2, 45, 64, 128),
    (2, 23, 32, 256),
    (2, 23, 16, 256),
    (2, 12, 8, 512),
  ]
  assert [f.shape for f in outputs[1].features] == [
    (2, 24_000, 16),
    (2, 6_000, 64),
    (2, 1_500, 256),
    (2, 375, 1024),
    (2, 94, 1024),
    (2, 94, 1024),
  ]
  for leaf in jax.tree.leaves(outputs):
    assert leaf.dtype == jnp.float32


def test_the_hidden_channels_follow_the_table():
  params = abstract_params(
    stft_discriminator.StftDiscriminator(32, 1024, 256, "none", METHOD)
  )
  kernels = [
    [params[f"unit_{i}"][name]["kernel"].shape for name in ("first", "second")]
    for i in range(6)
  ]
  assert kernels == [
    [(3, 3, 32, 32), (3, 4, 32, 64)],
    [(3, 3, 64, 64), (4, 4, 64, 128)],
    [(3, 3, 128, 128), (3, 4, 128, 128)],
    [(3, 3, 128, 128), (4, 4, 128, 256)],
    [(3, 3, 256, 256), (3, 4, 256, 256)],
    [(3, 3, 256, 256), (4, 4, 256, 512)],
  ]
  assert params["logits"]["kernel"].shape == (1, 8, 512, 1)


# Layers against references.


@pytest.mark.parametrize("samples", [16, 17, 18, 19])
def test_average_pool_leaves_its_padding_out_of_the_mean(samples):
  audio = noise(2, samples, 1)
  expected = []
  for start in range(-1, samples - 2, 2):
    taken = [t for t in range(start, start + 4) if 0 <= t < samples]
    expected.append(audio[:, taken].mean(axis=1))
  actual = jax.jit(discriminator.average_pool)(audio)
  assert actual.shape == (2, samples // 2, 1)
  np.testing.assert_allclose(actual, np.stack(expected, axis=1), atol=1e-7)


def test_average_pool_keeps_a_constant():
  constant = np.full((1, 32, 1), 0.7, np.float32)
  pooled = jax.jit(discriminator.average_pool)(constant)
  np.testing.assert_allclose(pooled, 0.7, rtol=1e-6)


def test_an_activated_frame_norm_equals_numpy_at_every_time_step():
  x = 3 * noise(2, 5, 6, 4) + 1
  module = stft_discriminator.ActivatedFrameNorm()
  params = random_params(module, entered(x))
  frames = np.asarray(x, np.float64)
  mean = frames.mean(axis=(2, 3), keepdims=True)
  spread = np.sqrt(frames.var(axis=(2, 3), keepdims=True) + 1e-5)
  scale, bias = np.asarray(params["scale"]), np.asarray(params["bias"])
  expected = leaky((frames - mean) / spread * scale + bias)
  np.testing.assert_allclose(
    jax.jit(apply(module))({"params": params}, x), expected, atol=1e-5
  )


def convolve(x, params, strides, padding, groups=1, weight_norm=False):
  """The textbook layer: weight norm, convolution, bias."""
  kernel = params["kernel"]
  if weight_norm:
    axes = tuple(range(kernel.ndim - 1))
    norms = jnp.sqrt(jnp.sum(kernel**2, axis=axes, keepdims=True))
    scale = params["scale"].reshape(norms.shape)
    kernel = kernel / norms * scale
  letters = "HW"[-len(strides) :]
  y = lax.conv_general_dilated(
    x,
    kernel,
    strides,
    padding,
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    feature_group_count=groups,
  )
  return y + params["bias"].reshape((1,) * (y.ndim - 1) + (-1,))


def leaky(x):
  return jnp.where(x > 0, x, 0.2 * x)


def normalise(x, params, norm):
  if norm != "layer":
    return x
  mean = jnp.mean(x, axis=(2, 3), keepdims=True)
  spread = jnp.sqrt(jnp.var(x, axis=(2, 3), keepdims=True) + 1e-5)
  scale, bias = (params[n].reshape(1, 1, 1, -1) for n in ("scale", "bias"))
  return (x - mean) / spread * scale + bias


def residual_unit(x, params, strides, norm):
  weight = norm == "weight"
  y = convolve(x, params["first"], (1, 1), "SAME", 1, weight)
  y = leaky(normalise(y, params.get("first_norm"), norm))
  y = convolve(y, params["second"], strides, "SAME", 1, weight)
  skip = convolve(x, params["skip"], strides, "VALID", 1, weight)
  return leaky(normalise(y + skip, params.get("second_norm"), norm))


def assert_outputs_close(actual, logits, features):
  for a, e in zip(
    [actual.logits, *actual.features], [logits, *features], strict=True
  ):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, atol=1e-5 * np.abs(e).max())


@pytest.mark.parametrize("strides", [(1, 2), (2, 2)])
@pytest.mark.parametrize("norm", ["layer", "weight", "none"])
def test_a_residual_unit_is_two_convolutions_around_a_strided_skip(
  strides, norm
):
  x = noise(2, 7, 8, 4)  # an odd number of frames: halving rounds up
  module = stft_discriminator.ResidualUnit(4, 8, strides, norm, jnp.float32)
  params = random_params(module, entered(x))
  run = jax.jit(apply(module), compiler_options=QUICK)
  actual = run({"params": params}, x)
  expected = jax.jit(
    lambda x, params: residual_unit(x, params, strides, norm),
    compiler_options=QUICK,
  )(x, params)
  assert actual.shape == (2, -(-7 // strides[0]), 4, 8)
  np.testing.assert_allclose(
    actual, expected, atol=1e-5 * np.abs(expected).max()
  )


# The whole, at a small size: one compiled program for the tests below.


@pytest.fixture(scope="module")
def small():
  """The small discriminators, parameters, and gradients with outputs."""
  module = discriminator.Discriminator(SMALL, METHOD)

  def loss(params, audio):
    outputs = module.apply({"params": params}, audio)
    total = sum(
      jnp.mean(jnp.square(o.logits + 1.0))
      + sum(jnp.mean(jnp.abs(f)) for f in o.features)
      for o in outputs
    )
    return total, outputs

  with jax.numpy_dtype_promotion("strict"):
    params = random_params(module, noise(2, SAMPLES, 1))
    gradient = jax.jit(
      jax.grad(loss, argnums=(0, 1), has_aux=True), compiler_options=QUICK
    )
    audio = noise(2, SAMPLES, 1)
    return module, params, gradient, audio, gradient(params, audio)[1]


def test_the_stft_network_is_the_residual_stack(small):
  _, params, _, audio, (actual, *_) = small
  params = params["stft"]
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
  starts = range(0, SAMPLES - 128 + 1, 32)
  frames = np.stack([audio[:, s : s + 128, 0] for s in starts], axis=1)
  spectrum = np.fft.rfft(frames * hann)[:, :, :64]
  spectrum = spectrum / np.sqrt(np.sum(hann**2))
  x = np.stack([spectrum.real, spectrum.imag], axis=3).astype(np.float32)

  @functools.partial(jax.jit, compiler_options=QUICK)
  def reference(params, x):
    x = leaky(convolve(x, params["first"], (1, 1), "SAME"))
    features = [x]
    for i in range(6):
      strides = ((1, 2), (2, 2))[i % 2]
      features.append(
        residual_unit(features[-1], params[f"unit_{i}"], strides, "layer")
      )
    logits = convolve(features[-1], params["logits"], (1, 1), "VALID")
    return logits[:, :, 0], features

  assert actual.logits.shape == (2, 6, 1)  # 47 frames, halved three times
  assert_outputs_close(actual, *reference(params, x))


@pytest.mark.parametrize("scale", [0, 1])
def test_a_wave_network_is_melgans_layer_table_on_pooled_audio(small, scale):
  _, params, _, audio, outputs = small
  actual = outputs[1 + scale]
  x = jax.jit(discriminator.average_pool)(audio) if scale else audio

  @functools.partial(jax.jit, compiler_options=QUICK)
  def reference(params, x):
    def layer(name, x, stride, pad, groups=1):
      return convolve(x, params[name], (stride,), (pad,), groups, True)

    x = jnp.pad(x, ((0, 0), (7, 7), (0, 0)), mode="reflect")
    features = [leaky(layer("first", x, 1, (0, 0)))]
    for stage, groups in enumerate((1, 4, 4, 4)):
      name = f"stage_{stage}"
      features.append(leaky(layer(name, features[-1], 4, (20, 20), groups)))
    features.append(leaky(layer("mix", features[-1], 1, (2, 2))))
    return layer("logits", features[-1], 1, (1, 1)), features

  assert actual.logits.shape == (2, (7, 4)[scale], 1)
  assert_outputs_close(actual, *reference(params[f"wave_{scale}"], x))


def test_every_parameter_gets_a_finite_non_zero_gradient(small):
  _, params, gradient, audio, _ = small
  (slopes, to_audio), _ = gradient(params, audio)
  for path, leaf in jax.tree_util.tree_leaves_with_path(slopes):
    name = jax.tree_util.keystr(path)
    assert np.isfinite(leaf).all(), name
    assert np.any(leaf), name
  assert np.isfinite(to_audio).all()
  assert np.asarray(to_audio).any(axis=(1, 2)).all()


def test_silence_has_finite_gradients(small):
  _, params, gradient, _, _ = small
  (slopes, to_audio), outputs = gradient(
    params, np.zeros((2, SAMPLES, 1), np.float32)
  )
  for leaf in jax.tree.leaves((slopes, to_audio, outputs)):
    assert np.isfinite(leaf).all()


def test_clips_of_a_batch_do_not_see_each_other(small):
  """One forward on [real; fake] is two forwards."""
  _, params, gradient, audio, together = small
  other = audio.copy()
  other[1] = noise(SAMPLES, 1, seed=5)
  _, changed = gradient(params, other)
  for a, b in zip(
    jax.tree.leaves(together), jax.tree.leaves(changed), strict=True
  ):
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_array_equal(a[0], b[0])
    assert np.any(a[1] != b[1])


def test_bfloat16_is_the_dtype_of_convolutions_alone():
  module = discriminator.Discriminator(SMALL, METHOD, dtype=jnp.bfloat16)
  audio = jax.ShapeDtypeStruct((1, SAMPLES, 1), jnp.float32)
  params = shapes(module, audio)
  program = jax.make_jaxpr(module.apply)({"params": params}, audio)
  seen = set()
  for equation in all_equations(program.jaxpr):
    dtypes = {str(v.aval.dtype) for v in equation.invars}
    if equation.primitive.name == "conv_general_dilated":
      assert dtypes == {"bfloat16"}
    elif equation.primitive.name in ("fft", "rsqrt"):
      assert dtypes == {"float32"}
    seen.add(equation.primitive.name)
  assert {"conv_general_dilated", "fft", "rsqrt"} <= seen
  assert {v.dtype for v in program.out_avals} == {jnp.dtype("float32")}


def all_equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for inner in jax.extend.core.jaxprs_in_params(equation.params):
      yield from all_equations(inner)


def test_a_bfloat16_unit_is_near_the_float32_one():
  x = noise(2, 7, 8, 4)
  unit = stft_discriminator.ResidualUnit(4, 8, (2, 2), "layer", jnp.float32)
  params = {"params": random_params(unit, entered(x))}
  full = jax.jit(apply(unit), compiler_options=QUICK)(params, x)
  low = unit.clone(dtype=jnp.bfloat16)
  low = jax.jit(apply(low), compiler_options=QUICK)(
    params, x.astype(jnp.bfloat16)
  )
  assert low.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    low.astype(jnp.float32), full, atol=0.03 * np.abs(full).max()
  )


def test_parameters_are_float32_for_any_compute_dtype():
  module = discriminator.Discriminator(SMALL, METHOD, dtype=jnp.bfloat16)
  for leaf in jax.tree.leaves(abstract_params(module, SAMPLES)):
    assert leaf.dtype == jnp.float32


def test_channels_that_do_not_divide_into_groups_are_refused():
  module = wave_discriminator.WaveDiscriminator(4, 18, "none", METHOD)
  with pytest.raises(errors.InputError, match="wave_max_channels=18"):
    abstract_params(module)


def test_audio_shorter_than_the_stft_window_is_refused():
  module = discriminator.Discriminator(SMALL, METHOD)
  with pytest.raises(ValueError, match="shorter than one window of 128"):
    abstract_params(module, 127)
