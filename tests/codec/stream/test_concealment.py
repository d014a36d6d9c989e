"""Laws of lost frames: what is heard instead, and that nothing else changes."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.codec.stream import concealment
from soundstream_jax.codec.stream import decoder as decoder_lib
from soundstream_jax.codec.stream import step as step_lib
from soundstream_jax.model import soundstream

# 100 frames per second: 8 are held, 4 fade away.
CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=3, decoder_channels=4, strides=(8, 10), embedding_dim=8
  ),
  quantizer=config_lib.Quantizer(num_quantizers=4, codebook_size=16),
)
HOP, LAYERS = 80, 4
HOLD, FADE = 8, 4
FRAMES = 400
# After the last damage; 0.17 s of this model.
RECOVERED = soundstream.context(CONFIG).decoder_frames


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


@functools.cache
def _decoder(codec, block_frames=1, streams=1):
  return decoder_lib.StreamDecoder(
    codec, block_frames=block_frames, streams=streams
  )


def _decode(codec, codes, layers=None, *, block_frames=4):
  """Decodes one stream [F, q] to its end."""
  decoder = _decoder(codec, block_frames)
  return np.concatenate(
    [decoder.push(codes, layers=layers), decoder.flush()[0]]
  )


def _sounds(codec):
  """Codes [F, q] by name: noise of codes, and two sounds as encoded."""
  time = np.arange(FRAMES * HOP) / 8_000
  # Vowels of a falling voice, with pauses between them.
  phase = 2 * np.pi * np.cumsum(160 - 40 * time / time[-1]) / 8_000
  voice = sum(np.sin(k * phase) / k for k in range(1, 20))
  voice *= np.maximum(np.sin(2 * np.pi * 2.5 * time), 0)
  random = np.random.default_rng(0)
  return {
    "random": random.integers(0, 16, (FRAMES, LAYERS)),
    "sine": codec.encode(0.5 * np.sin(2 * np.pi * 440 * time)),
    "voice": codec.encode(0.2 * voice),
  }


def _gilbert(seed, shape, *, rate=0.1, burst=3.0):
  """Returns which frames [..., F] are lost: bursts of that mean length."""
  random = np.random.default_rng(seed)
  begin, end = rate / (1 - rate) / burst, 1 / burst
  lost = np.zeros(shape, bool)
  state = np.zeros(shape[:-1], bool)
  for frame in range(shape[-1]):
    draw = random.random(shape[:-1])
    state = np.where(state, draw >= end, draw < begin)
    lost[..., frame] = state
  return lost


def _held(codes, lost):
  """What is decoded instead: the codes of the last frame that arrived."""
  newest = np.maximum.accumulate(np.where(lost, 0, np.arange(len(codes))))
  return codes[newest]


def _gains(lost):
  """[F * hop], frame by frame."""
  gap, heard, faded, parts = 0, False, 0.0, []
  for frame in lost:
    heard |= not frame
    gap = gap + 1 if frame else 0
    end = min(max((gap - HOLD) / FADE, 0), 1) if heard else 1.0
    begin = faded if heard else 1.0
    way = begin + (end - begin) * np.arange(1, HOP + 1) / HOP
    parts.append(0.5 + 0.5 * np.cos(np.pi * way))
    faded = end
  return np.concatenate(parts)


losses = st.lists(
  st.tuples(st.booleans(), st.integers(1, 20)), min_size=1, max_size=8
).map(lambda runs: np.repeat(*zip(*runs, strict=True))[:60])


def test_where_all_arrives_no_bit_changes(codec):
  codes = _sounds(codec)["random"]
  audio = _decode(codec, codes)
  layers = np.full(FRAMES, LAYERS)
  np.testing.assert_array_equal(_decode(codec, codes, layers), audio)
  np.testing.assert_allclose(audio, codec.decode(codes), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block_frames", [1, 4])
@settings(max_examples=25, deadline=None)
@given(lost=losses)
def test_a_gap_is_the_last_frame_held_and_faded(codec, block_frames, lost):
  codes = np.random.default_rng(1).integers(0, 16, (len(lost), LAYERS))
  layers = np.where(lost, 0, LAYERS)
  audio = _decode(codec, codes, layers, block_frames=block_frames)
  assert audio.shape == (len(lost) * HOP,)
  # Nothing was there to hold before the first frame that arrived; when its
  # memory has passed, that is forgotten.
  first = int(np.argmin(np.append(lost, False)))
  np.testing.assert_array_equal(audio[: first * HOP], 0)
  start = (first + RECOVERED if first else 0) * HOP
  held = _decode(codec, _held(codes, lost), block_frames=block_frames)
  np.testing.assert_allclose(
    audio[start:], (_gains(lost) * held)[start:], rtol=1e-5, atol=1e-5
  )
  # No click: between neighbours the gain takes a step of pi / 2 / HOP at most.
  steps = np.abs(np.diff(audio))[start:]
  bound = np.abs(np.diff(held)) + math.pi / 2 / HOP * np.abs(held[1:])
  assert (steps <= bound[start:] + 1e-5).all()


def test_a_long_gap_is_silent_and_a_short_one_is_not(codec):
  codes = _sounds(codec)["random"][:60]
  layers = np.full(60, LAYERS)
  layers[20:50] = 0
  audio = _decode(codec, codes, layers).reshape(60, HOP)
  assert (np.abs(audio[20 : 20 + HOLD + FADE - 1]).max(axis=1) > 1e-3).all()
  np.testing.assert_allclose(audio[20 + HOLD + FADE : 50], 0, atol=1e-6)
  assert np.abs(audio[50:]).max() > 1e-2


@pytest.mark.parametrize("sound", ["random", "sine", "voice"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_after_bursts_sound_recovers_in_the_decoders_memory(codec, sound, seed):
  """10 % lost in bursts of 3. Equal samples are at no log-mel distance."""
  codes = _sounds(codec)[sound]
  lost = _gilbert(seed, (FRAMES,))
  assert 0.03 < lost.mean() < 0.25
  whole = _decode(codec, codes)
  audio = _decode(codec, codes, np.where(lost, 0, LAYERS))
  assert audio.shape == whole.shape
  assert np.isfinite(audio).all()
  near = np.convolve(lost, np.ones(1 + RECOVERED))[:FRAMES] > 0
  intact = np.repeat(~near, HOP)
  assert intact.any()
  np.testing.assert_allclose(audio[intact], whole[intact], rtol=1e-5, atol=1e-5)
  print(f"{lost.mean():.0%} lost, {intact.mean():.0%} of the samples intact")


def test_damaged_layers_lower_the_bitrate_of_their_frames_alone(codec, made):
  codes = _sounds(codec)["voice"]
  layers = np.random.default_rng(2).integers(1, LAYERS + 1, FRAMES)
  damaged = np.where(np.arange(LAYERS) < layers[:, None], codes, 2**31 - 1)
  audio = _decode(codec, damaged, layers)
  _, params, vectors = made
  chosen = vectors[np.arange(LAYERS), codes]
  latents = sum(
    np.where(layers[:, None] > i, chosen[:, i], 0) for i in range(LAYERS)
  )
  net = soundstream.from_config(CONFIG)
  decode = jax.jit(lambda *a: net.apply(*a, method="decode"))
  expected = decode(soundstream.variables(params, vectors), latents[None])
  np.testing.assert_allclose(audio, expected[0, :, 0], rtol=1e-5, atol=1e-5)


def test_chunks_of_a_damaged_stream_change_no_bit(codec):
  codes = _sounds(codec)["random"][:101]
  layers = np.where(_gilbert(3, (101,)), 0, LAYERS)
  whole = _decode(codec, codes, layers)
  decoder = _decoder(codec, 4)
  edges = [0, 1, 3, 50, 50, 97, 101]
  parts = [
    decoder.push(codes[a:b], layers=layers[a:b])
    for a, b in itertools.pairwise(edges)
  ]
  parts.append(decoder.flush()[0])
  np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_lost_frame_of_one_stream_is_heard_in_no_other(codec):
  random = np.random.default_rng(4)
  codes = random.integers(0, 16, (3, 60, LAYERS))
  lost = _gilbert(5, (3, 60), rate=0.3)
  decoder = _decoder(codec, 4, streams=3)
  layers = np.where(lost, 0, LAYERS)
  first = decoder.push(codes, layers=layers)
  decoder.reset()
  layers[[0, 2]] = LAYERS
  second = decoder.push(codes, layers=layers)
  decoder.reset()
  np.testing.assert_array_equal(first[1], second[1])
  assert (first[[0, 2]] != second[[0, 2]]).any(axis=1).all()


def test_what_a_lost_frame_would_have_been_is_not_looked_at():
  latents = jnp.array(np.random.default_rng(6).standard_normal((2, 9, 5)))
  latents = latents.astype(jnp.float32)
  arrived = jnp.array(~_gilbert(7, (2, 9), rate=0.4))
  assert not arrived.all()
  start = concealment.start(latents)
  results = [
    concealment.fill(start, values, arrived, frame_rate_hz=100.0)
    for values in (
      latents,
      jnp.where(arrived[..., None], latents, jnp.nan),
    )
  ]
  for one, other in zip(*map(jax.tree.leaves, results), strict=True):
    np.testing.assert_array_equal(one, other)


def test_one_program_decodes_any_number_of_streams(codec):
  """Step and concealment, traced once for a number that is not known."""
  (b,) = export.symbolic_shape("b")
  net = step_lib.network(CONFIG)
  # Of two streams: a matrix may lie otherwise where there is one alone.
  variables, state = codec.model.start_streams(
    "decoder", streams=2, block_frames=3
  )

  def step(values, codes, layers, denoise):
    before = state.replace(values=values)
    after, audio = step_lib.decode_step(
      net, 100.0, variables, before, codes, layers, denoise
    )
    return after.values, audio

  size = state.values.shape[1]
  program = export.export(jax.jit(step))(
    jax.ShapeDtypeStruct((b, size), jnp.float32),
    jax.ShapeDtypeStruct((b, 3, LAYERS), jnp.int32),
    jax.ShapeDtypeStruct((b, 3), jnp.int32),
    jax.ShapeDtypeStruct((b,), jnp.bool_),
  )
  random = np.random.default_rng(8)
  for streams in (1, 2, 5):
    codes = random.integers(0, 16, (streams, 60, LAYERS)).astype(np.int32)
    lost = _gilbert(9, (streams, 60), rate=0.3)
    layers = np.where(lost, 0, LAYERS).astype(np.int32)
    values, audio = jnp.zeros((streams, size)), []
    for start in range(0, 60, 3):
      block = slice(start, start + 3)
      values, heard = program.call(
        values, codes[:, block], layers[:, block], np.zeros(streams, bool)
      )
      audio.append(heard)
    for found, one, arrived in zip(
      np.concatenate(audio, axis=1), codes, layers, strict=True
    ):
      expected = _decode(codec, one, arrived)
      np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("layers", "match"),
  [
    (np.full(3, LAYERS + 1), "below q"),
    (np.full(3, -1), "from -1"),
    (np.full(2, LAYERS), r"layers of shape \(2,\)"),
    (np.full(3, 2.0), "no integers"),
  ],
)
def test_layers_that_do_not_fit_are_refused(codec, layers, match):
  decoder = _decoder(codec, 4)
  with pytest.raises(errors.InputError, match=match):
    decoder.push(np.zeros((3, LAYERS), int), layers=layers)
  assert decoder.flush().shape == (1, 0)
