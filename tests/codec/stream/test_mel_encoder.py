"""Laws of a codec whose encoder is a mel filterbank: files, streams, exports."""

import dataclasses
import json

import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported, fingerprint
from soundstream_jax.codec import (
  streaming,
  trained_model,
)
from tests.codec.stream import chunks


@pytest.fixture(scope="module")
def mel(config):
  model = dataclasses.replace(config.model, encoder="mel", film="decoder")
  return dataclasses.replace(config, model=model)


@pytest.fixture(scope="module")
def mel_made(random_codec, mel):
  return random_codec(mel)


@pytest.fixture(scope="module")
def mel_whole(whole_of, mel, mel_made, audio):
  return whole_of(mel, mel_made, audio)


@pytest.mark.parametrize("block_frames", [1, 4])
def test_a_stream_is_the_whole_file(
  mel_made, mel_whole, audio, block_frames, differ_at_near_ties_only
):
  codec, _, vectors = mel_made
  encoder = streaming.StreamEncoder(codec, block_frames=block_frames)
  results = [chunks.run(encoder, audio, cut) for cut in ([], [77, 5, 418])]
  np.testing.assert_array_equal(*results)
  differ_at_near_ties_only(
    results[0], mel_whole.codes, mel_whole.latents, vectors
  )
  decoder = streaming.StreamDecoder(codec, block_frames=block_frames)
  decoded = chunks.run(decoder, mel_whole.codes)
  np.testing.assert_allclose(decoded, mel_whole.audio, rtol=1e-5, atol=1e-5)


def test_a_file_in_pieces_is_the_whole_file(
  mel_made, mel_whole, audio, differ_at_near_ties_only
):
  codec, _, vectors = mel_made
  codes = codec.encode(audio)
  differ_at_near_ties_only(codes, mel_whole.codes, mel_whole.latents, vectors)


def test_an_exported_model_says_its_encoder_and_is_the_same_codec(
  mel, mel_made, audio, tmp_path
):
  codec, params, _ = mel_made
  exported.write(tmp_path / "model", codec.model.to_host())
  about = json.loads((tmp_path / "model" / exported.ABOUT).read_text())
  assert about["config"]["model"]["encoder"] == "mel"
  again = trained_model.load(tmp_path / "model")
  assert again.config == mel
  assert again.fingerprint == codec.model.fingerprint
  assert set(params) == {"decoder", "film"}
  codes = [
    streaming.StreamEncoder(one, block_frames=4).push(audio)
    for one in (codec, again)
  ]
  np.testing.assert_array_equal(*codes)


def test_a_model_says_its_encoder_in_its_fingerprint_unless_it_is_learned(
  config, mel, mel_made
):
  _, params, vectors = mel_made
  learned = dataclasses.replace(
    mel, model=dataclasses.replace(mel.model, encoder="learned")
  )
  before = config_lib.to_dict(learned)
  del before["model"]["encoder"]  # as an older config.json
  one, other, old = (
    fingerprint.compute(c, params, vectors)
    for c in (mel, learned, config_lib.from_dict(before))
  )
  assert one != other == old
