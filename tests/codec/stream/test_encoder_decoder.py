"""Laws of streams: chunks, blocks, batches and resets change nothing."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec import streaming
from soundstream_jax.codec.stream import step as step_lib
from tests.codec.stream import chunks

HOP = 10
FRAMES = 120
BLOCKS = (1, 4, 32)

sizes = st.lists(st.integers(0, 700), min_size=1, max_size=12)


@functools.cache
def _streams(kind, codec, block_frames):
  """A stream begins anew with every flush, so tests share compiled ones."""
  return kind(codec, block_frames=block_frames)


@pytest.mark.parametrize("block_frames", BLOCKS)
@settings(max_examples=20, deadline=None)
@given(lengths=sizes)
def test_chunks_change_no_bit(codec, audio, block_frames, lengths):
  encoder = _streams(streaming.StreamEncoder, codec, block_frames)
  decoder = _streams(streaming.StreamDecoder, codec, block_frames)
  codes = chunks.run(encoder, audio, [])
  np.testing.assert_array_equal(chunks.run(encoder, audio, lengths), codes)
  decoded = chunks.run(decoder, codes, [])
  assert decoded.shape == (FRAMES * HOP,)
  np.testing.assert_array_equal(
    chunks.run(decoder, codes, [n // HOP for n in lengths]), decoded
  )


@pytest.mark.parametrize("block_frames", BLOCKS)
def test_streams_equal_the_training_forward(
  made, audio, whole, block_frames, differ_at_near_ties_only
):
  codec, _, vectors = made
  encoder = _streams(streaming.StreamEncoder, codec, block_frames)
  decoder = _streams(streaming.StreamDecoder, codec, block_frames)
  codes = chunks.run(encoder, audio, [77, 5])
  assert codes.dtype == np.int32
  differ_at_near_ties_only(codes, whole.codes, whole.latents, vectors)
  decoded = chunks.run(decoder, whole.codes, [7])
  assert decoded.dtype == np.float32
  np.testing.assert_allclose(decoded, whole.audio, rtol=1e-5, atol=1e-5)


def test_a_stream_is_the_same_whoever_else_is_in_the_batch(codec, audio):
  others = np.random.default_rng(2).standard_normal((2, 3, len(audio)))
  others = others.astype(np.float32)
  results = []
  for other in others:
    other[1] = audio
    encoder = streaming.StreamEncoder(codec, streams=3, block_frames=4)
    parts = [encoder.push(other), encoder.flush()]
    results.append(np.concatenate(parts, axis=1))
  first, second = results
  assert first.shape == (3, FRAMES, 4)
  np.testing.assert_array_equal(first[1], second[1])
  assert (first[0] != second[0]).any()


def test_one_stream_begins_anew_and_the_others_go_on(codec):
  noise = np.random.default_rng(3).standard_normal((2, 40 * HOP))
  noise = noise.astype(np.float32)
  encoder = streaming.StreamEncoder(codec, streams=2)
  decoder = streaming.StreamDecoder(codec, streams=2)
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
  encoder = streaming.StreamEncoder(codec, block_frames=32)
  for samples, frames in ((0, 0), (1, 1), (10, 1), (11, 2), (320, 32)):
    whole = encoder.push(audio[:samples])
    assert len(whole) + encoder.flush().shape[1] == frames
  decoder = streaming.StreamDecoder(codec, block_frames=32)
  for frames in (0, 1, 31, 32, 33):
    whole = decoder.push(np.zeros((frames, 4), np.int32))
    assert len(whole) + decoder.flush().shape[1] == frames * HOP


def test_lower_bitrates_are_the_first_layers(codec, audio):
  full = chunks.run(_streams(streaming.StreamEncoder, codec, 4), audio, [])
  bitrate = float(codec.bitrates[1])
  encoder = streaming.StreamEncoder(codec, block_frames=4, bitrate_bps=bitrate)
  low = chunks.run(encoder, audio, [])
  np.testing.assert_array_equal(low, full[:, :2])
  decoder = streaming.StreamDecoder(codec, block_frames=4, bitrate_bps=bitrate)
  np.testing.assert_allclose(
    chunks.run(decoder, low, []), codec.decode(low), rtol=1e-5, atol=1e-5
  )


def test_denoising_is_that_of_the_codec(codec, audio):
  encoder = streaming.StreamEncoder(codec, block_frames=32, denoise=True)
  codes = chunks.run(encoder, audio, [])
  expected = codec.encode(audio, denoise=True)
  assert (codes == expected).mean() > 0.99
  assert (codes != codec.encode(audio)).any()
  with pytest.raises(errors.InputError, match="in its encoder"):
    streaming.StreamDecoder(codec, denoise=True)


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
  encoder = _streams(streaming.StreamEncoder, codec, 4)
  decoder = _streams(streaming.StreamDecoder, codec, 4)
  encoder.push(np.ones(5))
  with pytest.raises(errors.InputError, match=match):
    call(encoder, decoder)
  assert encoder.flush().shape == (1, 1, 4)


def test_streams_that_are_alike_compile_once(codec):
  step = step_lib.compile_encoder(step_lib.network(codec.config), 4)
  _streams(streaming.StreamEncoder, codec, 4).push(np.ones(4 * HOP))
  programs = step._cache_size()
  for _ in range(3):
    streaming.StreamEncoder(codec, block_frames=4).push(np.ones(9 * HOP))
  assert step._cache_size() == programs


def test_results_are_the_callers_to_write_to(codec):
  encoder = _streams(streaming.StreamEncoder, codec, 4)
  decoder = _streams(streaming.StreamDecoder, codec, 4)
  codes = encoder.push(np.ones(4 * HOP))
  audio = decoder.push(codes)
  encoder.reset()
  decoder.reset()
  assert codes.flags.writeable and audio.flags.writeable


def test_streams_and_frames_are_at_least_one(codec):
  with pytest.raises(errors.InputError, match="streams=0"):
    streaming.StreamEncoder(codec, streams=0)
  with pytest.raises(errors.InputError, match="block_frames=0"):
    streaming.StreamDecoder(codec, block_frames=0)
