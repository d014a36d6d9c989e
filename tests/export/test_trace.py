"""Laws of the network as a list of layers."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.convolution import plain, snake
from soundstream_jax.export import trace
from soundstream_jax.model import mel_encoder, soundstream
from tests.codec import random_codec

MODELS = {
  "paper": {"model.strides": (4, 5)},
  "snake": {"model.activation": "snake"},
  "mel": {"model.encoder": "mel", "rematerialise": True},
  "film in the encoder": {"model.film": "encoder"},
  "film in the decoder": {"model.film": "decoder"},
}


@pytest.fixture(params=MODELS)
def config(request, small_config):
  return small_config(**MODELS[request.param], form="plain")


@pytest.fixture
def variables(config):
  _, params, vectors = random_codec.random_codec(config)
  return soundstream.variables(params, vectors)


def replayed(steps, x, denoise):
  """Computes what was written down, of x [B, T, C]."""

  def compute(step, *inputs):
    arrays = step.arrays
    switch = int(denoise)
    return {
      "convolve": lambda x: (
        plain.convolve(x, arrays["kernel"], step.spec)
        + arrays["bias"][None, None]
      ),
      "elu": jax.nn.elu,
      "snake": lambda x: snake.snake(x, arrays["alpha"][None, None]),
      "film": lambda x: (
        arrays["scale"][switch][None, None] * x
        + arrays["shift"][switch][None, None]
      ),
      "add": jnp.add,
      "square": jnp.square,
      "scaled_log": mel_encoder.scaled_log,
    }[step.kind](*inputs)

  results = {trace.INPUT: x}
  for index, step in enumerate(steps):
    inputs = [results[i] for i in step.inputs]
    assert step.inputs_channels == inputs[0].shape[-1]
    results[index] = compute(step, *inputs)
    assert step.channels == results[index].shape[-1]
  return results[len(steps) - 1]


@pytest.mark.parametrize("denoise", (False, True))
def test_what_is_written_down_computes_what_the_network_computes(
  config, variables, denoise
):
  net = soundstream.from_config(config)
  random = np.random.default_rng(0)
  switch = jnp.full((2,), denoise)
  for side, steps, shape in (
    ("encode", trace.encoder, (2, 5 * config.rates.hop_samples, 1)),
    ("decode", trace.decoder, (2, 5, config.model.embedding_dim)),
  ):
    x = random.normal(size=shape).astype(np.float32)
    expected = net.apply(variables, x, method=side, denoise=switch)
    found = replayed(steps(config, variables), x, denoise)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_every_parameter_of_both_networks_is_written_down_once(
  config, variables
):
  steps = trace.encoder(config, variables) + trace.decoder(config, variables)
  found = {
    (*step.path.split("/"), name): array.size
    for step in steps
    for name, array in step.arrays.items()
    if step.path not in ("encoder/spectrum", "encoder/filters")
  }
  params = flax.traverse_util.flatten_dict(variables["params"])
  assert found == {path: array.size for path, array in params.items()}


def test_the_table_is_what_single_codes_stand_for(small_config):
  config = small_config(
    **{"quantizer.kind": "low_dim", "quantizer.code_dim": 2}
  )
  _, params, vectors = random_codec.random_codec(config)
  variables = soundstream.variables(params, vectors)
  net = soundstream.from_config(config)
  codes = np.arange(config.quantizer.codebook_size)[None, :, None]
  first = net.apply(variables, codes, method="dequantize")
  table = trace.table(config, variables)
  np.testing.assert_allclose(table[0], first[0], atol=1e-6)


def test_a_function_that_has_no_name_here_is_refused():
  recorder = trace.Recorder([])
  with pytest.raises(ValueError, match="FUNCTIONS"):
    recorder.elementwise(jnp.tan, None)


def test_what_is_not_float32_is_refused(small_config):
  config = small_config(**{"model.compute_dtype": "bfloat16"})
  _, params, vectors = random_codec.random_codec(config)
  variables = soundstream.variables(params, vectors)
  with pytest.raises(ValueError, match="bfloat16"):
    trace.encoder(config, variables)
