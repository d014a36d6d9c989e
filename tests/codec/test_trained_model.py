"""Laws of the trained model: the codec stands on it and it knows no codec."""

import ast
import pathlib

import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import streaming, trained_model
from soundstream_jax.codec.stream import decoder, encoder

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=2, decoder_channels=2, strides=(4,), embedding_dim=8
  ),
  quantizer=config_lib.Quantizer(num_quantizers=2, codebook_size=16),
)
FOLDER = pathlib.Path(codec_lib.__file__).parent


@pytest.fixture(scope="module")
def codec(random_codec):
  return random_codec(CONFIG)[0]


def test_no_module_of_the_codec_imports_its_face():
  for path in FOLDER.rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom):
        named = {f"{node.module}.{alias.name}" for alias in node.names}
        assert "soundstream_jax.codec.codec" not in named, path


def test_every_parameter_of_a_model_has_its_type():
  for path in FOLDER.rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.arg) and node.arg in ("codec", "model"):
        assert node.annotation is not None, (path, node.lineno)


def test_streams_take_a_codec_or_its_model(codec):
  audio = np.random.default_rng(0).standard_normal(40).astype(np.float32)
  codes = [
    streaming.StreamEncoder(either).push(audio)
    for either in (codec, codec.model)
  ]
  np.testing.assert_array_equal(*codes)
  sounds = [
    streaming.StreamDecoder(either).push(codes[0])
    for either in (codec, codec.model)
  ]
  np.testing.assert_array_equal(*sounds)


def test_the_public_names_of_streams_are_the_classes():
  assert streaming.StreamEncoder is encoder.StreamEncoder
  assert streaming.StreamDecoder is decoder.StreamDecoder


def test_a_model_taken_off_its_device_and_placed_again_is_the_same(
  codec, tmp_path
):
  model = codec.model
  exported.write(tmp_path / "model", model.to_host())
  again = trained_model.load(tmp_path / "model")
  assert again.fingerprint == model.fingerprint
  assert (again.step, again.weights) == (model.step, model.weights)
  assert again.config == model.config
