"""Laws of the format web: the same codes, under names that others know."""

import json

import numpy as np
import pytest

from soundstream_jax.checkpoint import exported
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import web
from soundstream_jax.export.onnx import runtime
from tests.codec import random_codec

FRAMES = 40


def made(config):
  """Returns a random model's codec, what is exported of it, and sound."""
  codec, params, vectors = random_codec.random_codec(config)
  model = exported.Exported(config, params, vectors, step=5, weights="ema")
  noise = np.random.default_rng(0).standard_normal(
    (2, FRAMES * codec.hop_samples)
  )
  return codec, model, (0.3 * noise).astype(np.float32)


def write(folder, model, **options):
  for name, data in web.files(model, format_lib.Options(**options)).items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


@pytest.mark.parametrize("denoise", (False, True))
@pytest.mark.parametrize("film", ("none", "encoder", "decoder"))
def test_codes_and_audio_are_the_codecs_with_the_switch_as_written(
  film, denoise, small_config, tmp_path
):
  codec, model, audio = made(small_config(**{"model.film": film}))
  write(tmp_path, model, denoise=denoise)
  (pair,) = web.FORMAT.runtimes["onnxruntime"](tmp_path)
  switches = {"encoder": {}, "decoder": {}}
  if film != "none":
    switches[film] = {"denoise": denoise}
  codes = codec.encode(audio, **switches["encoder"])
  for q in range(1, codec.num_quantizers + 1):
    prefix = codes[..., :q]
    found = pair.encode(audio, num_quantizers=q)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, prefix)
    expected = codec.decode(prefix, **switches["decoder"])
    np.testing.assert_allclose(pair.decode(prefix), expected, atol=1e-5)


def test_files_have_the_names_that_transformers_js_asks_for(
  small_config, tmp_path
):
  codec, model, audio = made(small_config())
  write(tmp_path, model)
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["model_type"] == "mimi"
  assert config["architectures"] == ["MimiModel"]
  extractor = json.loads((tmp_path / "preprocessor_config.json").read_text())
  assert extractor["feature_extractor_type"] == "EncodecFeatureExtractor"
  for about in (config, extractor):
    assert about["sampling_rate"] == codec.sample_rate
  encoder, decoder = (
    runtime.session(tmp_path / "onnx" / f"{name}_model.onnx")
    for name in ("encoder", "decoder")
  )
  sound = {"input_values": audio[:, None, :-3]}
  codes = encoder.run(["audio_codes"], sound)[0]
  assert codes.dtype == np.int64
  assert codes.shape == (2, codec.num_quantizers, FRAMES)
  audio_values = decoder.run(["audio_values"], {"audio_codes": codes})[0]
  assert audio_values.shape == (2, 1, audio.shape[1])


def test_tensors_are_found_by_their_files_below_the_folder(
  small_config, tmp_path
):
  _, model, _ = made(small_config())
  write(tmp_path, model)
  tensors = web.FORMAT.tensors(tmp_path)
  assert set(tensors) == {web.ENCODER, web.DECODER}
  assert "quantizer/table" in tensors[web.DECODER]
