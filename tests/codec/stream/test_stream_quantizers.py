"""Laws of streams whose codes are of another kind than the paper's."""

import dataclasses

import numpy as np
import pytest

from soundstream_jax.checkpoint import fingerprint
from soundstream_jax.codec import streaming
from soundstream_jax.model import quantizers
from tests.codec.stream import chunks

# With what else changes latents on their way to and from the codes.
KINDS = {
  "low_dim": ({"code_dim": 3}, {"film": "encoder"}),
  "fsq": ({}, {"encoder": "mel", "film": "decoder"}),
}


@pytest.fixture(scope="module", params=KINDS)
def other(request, config):
  """The model's configuration with another kind."""
  of_quantizer, of_model = KINDS[request.param]
  return dataclasses.replace(
    config,
    model=dataclasses.replace(config.model, **of_model),
    quantizer=dataclasses.replace(
      config.quantizer, kind=request.param, **of_quantizer
    ),
  )


def test_a_stream_is_the_whole_file_and_a_prefix_the_lower_bitrate(
  random_codec, other, whole_of, audio, differ_at_near_ties_only
):
  made = random_codec(other)
  codec, params, vectors = made
  whole = whole_of(other, made, audio)
  codes = codec.encode(audio)
  differ_at_near_ties_only(
    codes,
    whole.codes,
    whole.latents,
    vectors,
    params["quantizer"],
    kind=quantizers.of(other.quantizer),
  )
  assert len(np.unique(codes)) > 8
  encoder = streaming.StreamEncoder(codec, block_frames=4)
  results = [chunks.run(encoder, audio, cut) for cut in ([], [77, 5, 418])]
  np.testing.assert_array_equal(*results)
  differ_at_near_ties_only(
    results[0],
    codes,
    whole.latents,
    vectors,
    params["quantizer"],
    kind=quantizers.of(other.quantizer),
  )
  fewer = codec.encode(audio, bitrate_bps=float(codec.bitrates[1]))
  np.testing.assert_array_equal(fewer, codes[:, :2])
  decoder = streaming.StreamDecoder(codec, block_frames=4)
  decoded = chunks.run(decoder, whole.codes)
  np.testing.assert_allclose(decoded, whole.audio, rtol=1e-5, atol=1e-5)
  layers = np.full(len(codes), 2)
  np.testing.assert_array_equal(
    codec.decode(codes, layers=layers), codec.decode(codes[:, :2])
  )


def test_a_model_says_its_kind_in_its_fingerprint(random_codec, other):
  codec, params, vectors = random_codec(other)
  paper = dataclasses.replace(
    other, quantizer=dataclasses.replace(other.quantizer, kind="ema")
  )
  assert fingerprint.compute(paper, params, vectors) != codec.fingerprint
