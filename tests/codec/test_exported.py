"""Laws of exported models: the same codec, or one line that says why not."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported, fingerprint
from soundstream_jax.codec import codec as codec_lib

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=2, decoder_channels=2, strides=(2, 5), embedding_dim=4
  ),
  quantizer=config_lib.Quantizer(num_quantizers=2, codebook_size=8),
)


@pytest.fixture(scope="module")
def model(random_codec):
  _, params, vectors = random_codec(CONFIG)
  return exported.Exported(CONFIG, params, vectors, step=5, weights="ema")


@pytest.fixture
def folder(model, tmp_path):
  exported.write(tmp_path / "a" / "model", model)
  return tmp_path / "a" / "model"


def test_what_is_read_is_what_was_written_bit_for_bit(model, folder):
  found = exported.read(folder)
  assert (found.config, found.step, found.weights) == (CONFIG, 5, "ema")
  jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
  np.testing.assert_array_equal(found.vectors, model.vectors)
  assert fingerprint.compute(
    found.config, found.params, found.vectors
  ) == fingerprint.compute(CONFIG, model.params, model.vectors)
  assert exported.is_exported(folder)
  assert not exported.is_exported(folder.parent)


def test_a_model_of_snakes_has_its_alphas(random_codec, tmp_path):
  snakes = dataclasses.replace(CONFIG.model, activation="snake")
  codec, params, _ = random_codec(dataclasses.replace(CONFIG, model=snakes))
  exported.write(tmp_path / "model", codec.as_exported())
  found = exported.read(tmp_path / "model")
  jax.tree.map(np.testing.assert_array_equal, found.params, params)
  assert "alpha" in found.params["decoder"]["output_snake"]
  audio = np.random.default_rng(0).normal(size=1_000).astype(np.float32)
  np.testing.assert_array_equal(
    codec_lib.Codec.load(tmp_path / "model").encode(audio),
    codec.encode(audio),
  )


def test_a_model_is_not_written_over(model, folder):
  before = {path: path.read_bytes() for path in folder.iterdir()}
  with pytest.raises(errors.InputError, match="holds an exported model"):
    exported.write(folder, model)
  assert {path: path.read_bytes() for path in folder.iterdir()} == before


def _rewrite(folder, **values):
  path = folder / exported.ABOUT
  path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _flip(folder):
  path = folder / exported.ARRAYS
  data = bytearray(path.read_bytes())
  data[-1] ^= 1
  path.write_bytes(data)


def _other_model(folder):
  path = folder / exported.ABOUT
  about = json.loads(path.read_text())
  about["config"]["model"]["encoder_channels"] = 3
  path.write_text(json.dumps(about))


@pytest.mark.parametrize(
  ("damage", "match"),
  [
    (_flip, "the array params.* was changed"),
    (_other_model, r"is float32 \(.*, not float32 \("),
    (lambda f: _rewrite(f, format_version=9), "format version 9"),
    (lambda f: _rewrite(f, config={}), r"not float32 \(24, 1024"),
    (lambda f: _rewrite(f, config={"modle": 1}), "damaged|modle"),
    (lambda f: (f / exported.ABOUT).write_text("{"), "cannot be read"),
    (lambda f: (f / exported.ABOUT).write_text("[]"), "cannot be read"),
    (lambda f: (f / exported.ARRAYS).unlink(), "cannot be read"),
    (lambda f: (f / exported.ARRAYS).write_bytes(b"\xff" * 64), "be read"),
    (lambda f: (f / exported.ARRAYS).write_bytes(b""), "cannot be read"),
  ],
)
def test_damage_is_one_line(folder, damage, match):
  damage(folder)
  with pytest.raises(errors.InputError, match=match) as error:
    exported.read(folder)
  assert str(folder) in str(error.value)
