"""The generator: the paper's sizes, causality, conditioning, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.model import initialise, quantizer, soundstream


def _count(tree):
  return sum(
    box.value.size
    for box in jax.tree.leaves(
      tree, is_leaf=lambda leaf: isinstance(leaf, initialise.Drawn)
    )
  )


@pytest.mark.parametrize(
  ("kernel", "hidden_ratio"), [(7, 0.5), (3, 1.0)], ids=["B", "A"]
)
def test_parameter_counts_are_those_of_table_one(kernel, hidden_ratio):
  """Paper Table I, rounded to 0.1 M; codebooks are not counted there."""
  table = {
    (32, 32): 8.4,
    (16, 16): 2.4,
    (16, 32): 5.5,
    (8, 32): 4.8,
    (32, 16): 5.3,
    (32, 8): 4.4,
  }
  for (encoder, decoder), millions in table.items():
    values = config_lib.default()
    values.model.encoder_channels = encoder
    values.model.decoder_channels = decoder
    values.model.residual_kernel = kernel
    values.model.residual_hidden_ratio = hidden_ratio
    config = config_lib.from_dict(values)
    assert config.model.embedding_dim == 256
    count = _count(soundstream.declare(config))
    assert round(count / 1e6, 1) == millions, (encoder, decoder, count)


@pytest.fixture(scope="module")
def small(small_config):
  """(config, net, variables)."""
  return _build(small_config(**{"model.strides": (2, 4)}))


def _build(config):
  net = soundstream.from_config(config)
  q = config.quantizer
  vectors = jax.random.normal(
    jax.random.key(1),
    (q.num_quantizers, q.codebook_size, config.model.embedding_dim),
  )
  params = soundstream.init(config, jax.random.key(0))
  variables = soundstream.variables(params, vectors)
  return config, net, variables


def _audio(batch, samples):
  return jax.random.normal(jax.random.key(2), (batch, samples, 1)) * 0.3


def test_output_has_the_shapes_that_the_letters_say(small):
  _, net, variables = small
  some = jnp.zeros((3, 8), jnp.int32)
  candidates = quantizer.Candidates(examples=some, frames=some)
  output = jax.eval_shape(
    lambda v, x: net.apply(v, x, candidates=candidates),
    variables,
    _audio(2, 80),
  )
  assert output.audio.shape == (2, 80, 1)
  assert output.latents.shape == (2, 10, 8)
  assert output.codes.shape == (2, 10, 3)
  assert output.commitment.shape == (3,)
  assert output.statistics.sums.shape == (3, 16, 8)
  assert output.statistics.candidates.shape == (3, 8, 8)


def test_nothing_in_the_future_changes_the_past(small):
  config, net, variables = small
  hop = config.rates.hop_samples
  encode = jax.jit(lambda x: net.apply(variables, x, method="encode"))
  decode = jax.jit(lambda z: net.apply(variables, z, method="decode"))
  audio = _audio(1, 40 * hop)
  poisoned = audio.at[:, 25 * hop :].set(jnp.nan)
  np.testing.assert_array_equal(encode(audio)[:, :25], encode(poisoned)[:, :25])
  latents = jax.random.normal(jax.random.key(3), (1, 40, 8))
  poisoned = latents.at[:, 25:].set(jnp.nan)
  np.testing.assert_array_equal(
    decode(latents)[:, : 25 * hop], decode(poisoned)[:, : 25 * hop]
  )


def test_context_is_all_that_an_output_depends_on(small):
  config, net, variables = small
  hop, context = config.rates.hop_samples, soundstream.context(config)
  frames = context.encoder_frames + context.decoder_frames + 4
  encode = jax.jit(lambda x: net.apply(variables, x, method="encode"))
  decode = jax.jit(lambda z: net.apply(variables, z, method="decode"))
  audio = _audio(1, frames * hop)
  late = encode(audio.at[:, :hop].set(jnp.nan))
  finite = np.all(np.isfinite(late[0]), axis=-1)
  # Frame 0 is poisoned; `context` frames later nothing of it is left.
  assert np.all(finite[context.encoder_frames + 1 :])
  assert not finite[context.encoder_frames - 3]
  latents = jax.random.normal(jax.random.key(3), (1, frames, 8))
  late = decode(latents.at[:, :1].set(jnp.nan)).reshape(frames, hop)
  finite = np.all(np.isfinite(late), axis=-1)
  assert np.all(finite[context.decoder_frames + 1 :])
  assert not finite[context.decoder_frames - 3]


def test_the_encoder_hears_quiet_audio_before_it_has_learnt(small):
  # A linear filter turns -x into -latents and cannot measure loudness: what
  # x and -x share is what the ELUs do. It was 1e-4 of the power at -40 dBFS.
  _, net, variables = small
  audio = 0.01 * jax.random.normal(jax.random.key(7), (2, 800, 1))
  encode = jax.jit(lambda x: net.apply(variables, x, method="encode"))
  shared = (encode(audio) + encode(-audio)) / 2 - encode(0 * audio)
  share = jnp.mean(shared**2) / jnp.mean(
    (encode(audio) - encode(0 * audio)) ** 2
  )
  assert share > 0.05


def test_examples_of_a_batch_do_not_see_each_other(small):
  _, net, variables = small
  audio = _audio(3, 160)
  run = jax.jit(lambda x: net.apply(variables, x).audio)
  poisoned = audio.at[1].set(jnp.nan)
  np.testing.assert_array_equal(run(audio)[0], run(poisoned)[0])
  np.testing.assert_array_equal(run(audio)[2], run(poisoned)[2])


def test_a_bypassed_example_is_decoded_from_its_latents(small):
  _, net, variables = small
  audio = _audio(3, 80)
  usual = net.apply(variables, audio)
  bypass = jnp.asarray([True, False, True])
  output = net.apply(variables, audio, bypass=bypass)
  whole = net.apply(variables, usual.latents, method="decode")
  np.testing.assert_allclose(output.audio[::2], whole[::2], atol=1e-5)
  np.testing.assert_allclose(output.audio[1], usual.audio[1], atol=1e-6)
  assert np.abs(output.audio[0] - usual.audio[0]).max() > 1e-3
  for name in ("codes", "commitment"):
    np.testing.assert_array_equal(getattr(output, name), getattr(usual, name))


def test_decoding_the_codes_is_the_reconstruction(small):
  _, net, variables = small
  output = net.apply(variables, _audio(1, 80))
  latents = net.apply(variables, output.codes, method="dequantize")
  audio = net.apply(variables, latents, method="decode")
  np.testing.assert_allclose(audio, output.audio, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_film_conditions_one_side_and_learns(side, small_config):
  _, net, variables = _build(small_config(**{"model.film": side}))
  audio = _audio(2, 80)
  denoise = jnp.asarray([True, False])

  def loss(params, denoise):
    output = net.apply(
      soundstream.variables(
        params, variables["codebooks"]["quantizer"]["vectors"]
      ),
      audio,
      denoise=denoise,
    )
    return jnp.mean(jnp.square(output.audio)) + jnp.sum(output.commitment)

  gradients = jax.jit(jax.grad(loss))(variables["params"], denoise)
  for leaf in jax.tree.leaves(gradients["film"]):
    assert np.all(np.isfinite(leaf))
    assert np.all(np.any(np.asarray(leaf) != 0, axis=1))


def test_bfloat16_keeps_parameters_and_results_in_float32(small_config):
  _, net, variables = _build(
    small_config(**{"model.compute_dtype": "bfloat16"})
  )
  assert all(p.dtype == np.float32 for p in jax.tree.leaves(variables))
  with jax.numpy_dtype_promotion("strict"):
    output = jax.jit(net.apply)(variables, _audio(1, 80))
  assert output.audio.dtype == output.latents.dtype == jnp.float32
  exact = _build(small_config())[1].apply(variables, _audio(1, 80))
  error = jnp.max(jnp.abs(output.latents - exact.latents))
  assert 0 < float(error) < 0.05 * float(jnp.max(jnp.abs(exact.latents)))
