"""Laws of streams: chunks, blocks, batches and resets change nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.codec.stream import encoder as encoder_lib
from soundstream_jax.model import soundstream

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=3,
    decoder_channels=4,
    strides=(2, 5),
    embedding_dim=8,
    film="encoder",
  ),
  quantizer=config_lib.Quantizer(num_quantizers=4, codebook_size=16),
)
HOP = 10
FRAMES = 120
BLOCKS = (1, 4, 32)

sizes = st.lists(st.integers(0, 700), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def _strict_promotion():
  with jax.numpy_dtype_promotion("strict"):
    yield


@pytest.fixture(scope="module")
def made(random_codec):
  return random_codec(CONFIG)


@pytest.fixture(scope="module")
def codec(made):
  return made[0]


@pytest.fixture(scope="module")
def audio():
  """120 frames, the last of them not whole."""
  noise = np.random.default_rng(0).standard_normal(FRAMES * HOP - 3)
  return (0.3 * noise).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Whole:
  latents: np.ndarray  # [F, D]
  codes: np.ndarray  # [F, Q]
  audio: np.ndarray  # [F * hop]


@pytest.fixture(scope="module")
def whole(made, audio):
  """What the network makes of all audio at once, as in training."""
  return _whole(CONFIG, made, audio)


def _whole(config, made, audio):
  net = soundstream.from_config(config)

  @jax.jit
  def outputs(variables, audio):
    latents = net.apply(variables, audio, method="encode")
    codes = net.apply(variables, latents, method="quantize").codes
    decoded = net.apply(variables, codes, method="dequantize")
    decoded = net.apply(variables, decoded, method="decode")
    return latents[0], codes[0], decoded[0, :, 0]

  filled = np.pad(audio, (0, -len(audio) % config.rates.hop_samples))
  results = outputs(soundstream.variables(*made[1:]), filled[None, :, None])
  return Whole(*map(np.asarray, results))


@functools.cache
def _streams(kind, codec, block_frames):
  """A stream begins anew with every flush, so tests share compiled ones."""
  return kind(codec, block_frames=block_frames)


def _chunks(items, lengths):
  """Cuts items along their first axis; what is left is the last chunk."""
  edges = np.cumsum(lengths)
  return np.split(items, edges[edges < len(items)])


def _in_chunks(stream, items, lengths):
  parts = [stream.push(chunk) for chunk in _chunks(items, lengths)]
  return np.concatenate([*parts, stream.flush()[0]])


@pytest.mark.parametrize("block_frames", BLOCKS)
@settings(max_examples=20, deadline=None)
@given(lengths=sizes)
def test_chunks_change_no_bit(codec, audio, block_frames, lengths):
  encoder = _streams(encoder_lib.StreamEncoder, codec, block_frames)
  decoder = _streams(encoder_lib.StreamDecoder, codec, block_frames)
  codes = _in_chunks(encoder, audio, [])
  np.testing.assert_array_equal(_in_chunks(encoder, audio, lengths), codes)
  decoded = _in_chunks(decoder, codes, [])
  assert decoded.shape == (FRAMES * HOP,)
  np.testing.assert_array_equal(
    _in_chunks(decoder, codes, [n // HOP for n in lengths]), decoded
  )


@pytest.mark.parametrize("block_frames", BLOCKS)
def test_streams_equal_the_training_forward(
  made, audio, whole, block_frames, differ_at_near_ties_only
):
  codec, _, vectors = made
  encoder = _streams(encoder_lib.StreamEncoder, codec, block_frames)
  decoder = _streams(encoder_lib.StreamDecoder, codec, block_frames)
  codes = _in_chunks(encoder, audio, [77, 5])
  assert codes.dtype == np.int32
  differ_at_near_ties_only(codes, whole.codes, whole.latents, vectors)
  decoded = _in_chunks(decoder, whole.codes, [7])
  assert decoded.dtype == np.float32
  np.testing.assert_allclose(decoded, whole.audio, rtol=1e-5, atol=1e-5)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
  strides=st.sampled_from([(2,), (3, 2), (1, 4), (2, 4, 3)]),
  channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
  kernel=st.sampled_from([1, 3, 7]),
  block_frames=st.integers(1, 5),
  film=st.sampled_from(["none", "encoder", "decoder"]),
)
def test_any_shape_of_model_streams(
  random_codec, strides, channels, kernel, block_frames, film
):
  config = dataclasses.replace(
    CONFIG,
    model=dataclasses.replace(
      CONFIG.model,
      strides=strides,
      encoder_channels=channels[0],
      decoder_channels=channels[1],
      residual_kernel=kernel,
      film=film,
    ),
  )
  made = random_codec(config)
  noise = np.random.default_rng(1).standard_normal(20 * 24)
  whole = _whole(config, made, noise.astype(np.float32))
  variables = soundstream.variables(*made[1:])
  latents, audio, state = [], [], {"encode": {}, "decode": {}}
  step = _step(config)
  hop = config.rates.hop_samples
  for start in range(0, len(whole.codes), block_frames):
    inputs = {
      "encode": noise[start * hop : (start + block_frames) * hop, None],
      "decode": _dequantize(made[2], whole.codes[start : start + block_frames]),
    }
    for method, outputs in (("encode", latents), ("decode", audio)):
      block = inputs[method][None].astype(np.float32)
      result, state[method] = step(variables | state[method], block, method)
      outputs.append(np.asarray(result[0]))
  np.testing.assert_allclose(
    np.concatenate(latents), whole.latents, rtol=1e-5, atol=1e-5
  )
  np.testing.assert_allclose(
    np.concatenate(audio)[:, 0], whole.audio, rtol=1e-5, atol=1e-5
  )


def _step(config):
  """Returns step(variables, block, method) -> (result, state), compiled."""
  net = soundstream.from_config(config, form="stream")

  def step(variables, block, method):
    mutable = ["stream", "prepared"]
    return net.apply(variables, block, method=method, mutable=mutable)

  return jax.jit(step, static_argnums=2)


def _dequantize(vectors, codes):
  return vectors[np.arange(vectors.shape[0]), codes].sum(axis=1)


def test_a_stream_is_the_same_whoever_else_is_in_the_batch(codec, audio):
  others = np.random.default_rng(2).standard_normal((2, 3, len(audio)))
  others = others.astype(np.float32)
  results = []
  for other in others:
    other[1] = audio
    encoder = encoder_lib.StreamEncoder(codec, streams=3, block_frames=4)
    parts = [encoder.push(other), encoder.flush()]
    results.append(np.concatenate(parts, axis=1))
  first, second = results
  assert first.shape == (3, FRAMES, 4)
  np.testing.assert_array_equal(first[1], second[1])
  assert (first[0] != second[0]).any()


def test_one_stream_begins_anew_and_the_others_go_on(codec):
  noise = np.random.default_rng(3).standard_normal((2, 40 * HOP))
  noise = noise.astype(np.float32)
  encoder = encoder_lib.StreamEncoder(codec, streams=2)
  decoder = encoder_lib.StreamDecoder(codec, streams=2)
  before = encoder.push(noise)
  heard = decoder.push(before)
  encoder.reset(np.array([True, False]))
  decoder.reset(np.array([True, False]))
  after = encoder.push(noise)
  np.testing.assert_array_equal(after[0], before[0])
  assert (after[1] != before[1]).any()
  again = decoder.push(before)
  np.testing.assert_array_equal(again[0], heard[0])
  assert (again[1] != heard[1]).any()
  encoder.push(noise[:, :3])
  with pytest.raises(errors.InputError, match="3 of the 10 of a block"):
    encoder.reset(np.array([True, False]))
  encoder.reset()
  np.testing.assert_array_equal(encoder.push(noise), before)


def test_the_tail_is_flushed_and_nothing_more(codec, audio):
  encoder = encoder_lib.StreamEncoder(codec, block_frames=32)
  for samples, frames in ((0, 0), (1, 1), (10, 1), (11, 2), (320, 32)):
    whole = encoder.push(audio[:samples])
    assert len(whole) + encoder.flush().shape[1] == frames
  decoder = encoder_lib.StreamDecoder(codec, block_frames=32)
  for frames in (0, 1, 31, 32, 33):
    whole = decoder.push(np.zeros((frames, 4), np.int32))
    assert len(whole) + decoder.flush().shape[1] == frames * HOP


def test_lower_bitrates_are_the_first_layers(codec, audio):
  full = _in_chunks(_streams(encoder_lib.StreamEncoder, codec, 4), audio, [])
  bitrate = float(codec.bitrates[1])
  encoder = encoder_lib.StreamEncoder(
    codec, block_frames=4, bitrate_bps=bitrate
  )
  low = _in_chunks(encoder, audio, [])
  np.testing.assert_array_equal(low, full[:, :2])
  decoder = encoder_lib.StreamDecoder(
    codec, block_frames=4, bitrate_bps=bitrate
  )
  np.testing.assert_allclose(
    _in_chunks(decoder, low, []), codec.decode(low), rtol=1e-5, atol=1e-5
  )


def test_denoising_is_that_of_the_codec(codec, audio):
  encoder = encoder_lib.StreamEncoder(codec, block_frames=32, denoise=True)
  codes = _in_chunks(encoder, audio, [])
  expected = codec.encode(audio, denoise=True)
  assert (codes == expected).mean() > 0.99
  assert (codes != codec.encode(audio)).any()
  with pytest.raises(errors.InputError, match="in its encoder"):
    encoder_lib.StreamDecoder(codec, denoise=True)


def test_the_future_and_the_neighbours_leak_nowhere(made):
  """NaN in one place of one stream reaches what follows it there alone."""
  variables, step = soundstream.variables(*made[1:]), _step(CONFIG)
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


def test_gradients_of_both_paths_agree(made, whole):
  _, params, vectors = made
  latents = whole.latents[None, :12]
  weights = np.random.default_rng(5).standard_normal((1, 12 * HOP, 1))
  weights = weights.astype(np.float32)

  def in_whole(params):
    net = soundstream.from_config(CONFIG)
    variables = soundstream.variables(params, vectors)
    return jnp.sum(weights * net.apply(variables, latents, method="decode"))

  def in_steps(params):
    variables, step = soundstream.variables(params, vectors), _step(CONFIG)
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


@pytest.mark.parametrize(
  ("call", "match"),
  [
    (lambda e, d: e.push(np.full((9,), np.nan)), "not finite"),
    (lambda e, d: e.push(np.zeros((2, 9))), r"does not fit \[1, N\]"),
    (lambda e, d: e.push(np.zeros((1, 9, 1))), "has 3 axes"),
    (lambda e, d: d.push(np.zeros((3, 3), np.int32)), r"fit \[1, N, 4\]"),
    (lambda e, d: d.push(np.zeros((3, 4))), "no integers"),
    (lambda e, d: d.push(np.full((3, 4), 16)), "codebook size 16"),
  ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_lost(codec, call, match):
  encoder = _streams(encoder_lib.StreamEncoder, codec, 4)
  decoder = _streams(encoder_lib.StreamDecoder, codec, 4)
  encoder.push(np.ones(5))
  with pytest.raises(errors.InputError, match=match):
    call(encoder, decoder)
  assert encoder.flush().shape == (1, 1, 4)


def test_streams_that_are_alike_compile_once(codec):
  step = encoder_lib._encoding(encoder_lib.net(codec), 4)
  _streams(encoder_lib.StreamEncoder, codec, 4).push(np.ones(4 * HOP))
  programs = step._cache_size()
  for _ in range(3):
    encoder_lib.StreamEncoder(codec, block_frames=4).push(np.ones(9 * HOP))
  assert step._cache_size() == programs


def test_results_are_the_callers_to_write_to(codec):
  encoder = _streams(encoder_lib.StreamEncoder, codec, 4)
  decoder = _streams(encoder_lib.StreamDecoder, codec, 4)
  codes = encoder.push(np.ones(4 * HOP))
  audio = decoder.push(codes)
  encoder.reset()
  decoder.reset()
  assert codes.flags.writeable and audio.flags.writeable


def test_streams_and_frames_are_at_least_one(codec):
  with pytest.raises(errors.InputError, match="streams=0"):
    encoder_lib.StreamEncoder(codec, streams=0)
  with pytest.raises(errors.InputError, match="block_frames=0"):
    encoder_lib.StreamDecoder(codec, block_frames=0)
