"""Laws of the network in steps: it is the network on all audio at once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax.convolution.stream import method as stream
from soundstream_jax.model import soundstream

HOP = 10


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
  strides=st.sampled_from([(2,), (3, 2), (1, 4), (2, 4, 3)]),
  channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
  kernel=st.sampled_from([1, 3, 7]),
  block_frames=st.integers(1, 5),
  film=st.sampled_from(["none", "encoder", "decoder"]),
  activation=st.sampled_from(["elu", "snake"]),
)
def test_any_shape_of_model_streams(
  random_codec,
  config,
  whole_of,
  strides,
  channels,
  kernel,
  block_frames,
  film,
  activation,
):
  config = dataclasses.replace(
    config,
    model=dataclasses.replace(
      config.model,
      strides=strides,
      encoder_channels=channels[0],
      decoder_channels=channels[1],
      residual_kernel=kernel,
      film=film,
      activation=activation,
    ),
  )
  made = random_codec(config)
  noise = np.random.default_rng(1).standard_normal(20 * 24)
  whole = whole_of(config, made, noise.astype(np.float32))
  variables = soundstream.variables(*made[1:])
  latents, audio, state = [], [], {"encode": {}, "decode": {}}
  step = _step(config)
  hop = config.rates.hop_samples
  # Blocks are of one size: what is computed once from the variables fits it.
  frames = len(whole.codes) // block_frames * block_frames
  for start in range(0, frames, block_frames):
    inputs = {
      "encode": noise[start * hop : (start + block_frames) * hop, None],
      "decode": _dequantize(made[2], whole.codes[start : start + block_frames]),
    }
    for method, outputs in (("encode", latents), ("decode", audio)):
      block = inputs[method][None].astype(np.float32)
      result, state[method] = step(variables | state[method], block, method)
      outputs.append(np.asarray(result[0]))
  np.testing.assert_allclose(
    np.concatenate(latents), whole.latents[:frames], rtol=1e-5, atol=1e-5
  )
  np.testing.assert_allclose(
    np.concatenate(audio)[:, 0],
    whole.audio[: frames * hop],
    rtol=1e-5,
    atol=1e-5,
  )


def test_the_future_and_the_neighbours_leak_nowhere(made, config):
  """NaN in one place of one stream reaches what follows it there alone."""
  variables, step = soundstream.variables(*made[1:]), _step(config)
  latents = np.random.default_rng(4).standard_normal((12, 2, 1, 8))
  latents = latents.astype(np.float32)
  latents[6, 1] = np.nan
  outputs, state = [], {}
  for block in latents:
    audio, state = step(variables | state, block, "decode")
    outputs.append(np.asarray(audio))
  finite = np.isfinite(np.stack(outputs)).all(axis=(2, 3))
  assert finite[:, 0].all()
  assert finite[:6, 1].all()
  assert not finite[6:8, 1].any()


def test_gradients_of_both_paths_agree(made, whole, config):
  _, params, vectors = made
  latents = whole.latents[None, :12]
  weights = np.random.default_rng(5).standard_normal((1, 12 * HOP, 1))
  weights = weights.astype(np.float32)

  def in_whole(params):
    net = soundstream.from_config(config)
    variables = soundstream.variables(params, vectors)
    return jnp.sum(weights * net.apply(variables, latents, method="decode"))

  def in_steps(params):
    variables, step = soundstream.variables(params, vectors), _step(config)
    outputs, state = [], {}
    for start in range(0, 12, 4):
      block = latents[:, start : start + 4]
      audio, state = step(variables | state, block, "decode")
      outputs.append(audio)
    return jnp.sum(weights * jnp.concatenate(outputs, axis=1))

  one, other = (
    jax.tree.leaves(jax.jit(jax.grad(f))(params)["decoder"])
    for f in (in_whole, in_steps)
  )
  for gradient, same in zip(one, other, strict=True):
    scale = np.abs(gradient).max()
    assert scale > 0
    np.testing.assert_allclose(gradient, same, rtol=1e-5, atol=1e-5 * scale)


def _step(config):
  """Returns step(variables, block, method) -> (result, state), compiled."""
  net = soundstream.from_config(config, method=stream.Stream())

  def step(variables, block, method):
    mutable = ["stream", "prepared"]
    return net.apply(variables, block, method=method, mutable=mutable)

  return jax.jit(step, static_argnums=2)


def _dequantize(vectors, codes):
  return vectors[np.arange(vectors.shape[0]), codes].sum(axis=1)
