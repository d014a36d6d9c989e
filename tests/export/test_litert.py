"""Laws of the format litert: a stream's steps on LiteRT, exact and in int8."""

import dataclasses
import importlib.metadata
import json

import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import blocks as blocks_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import functions, litert, parity
from tests.codec import random_codec
from tests.export import variants

pytestmark = pytest.mark.slow

FRAMES, LAYERS = 130, 3
BLOCKS = [1, 32, 8, 8, 1, 1, 32, 32, 8, 1, 1, 1, 1, 1, 1, 1]
# Strides of presets, one of them on each side of the switch.
MODELS = {
  "encoder": {"model.strides": (5, 8, 8), "model.film": "encoder"},
  "decoder": {
    "model.strides": (2, 4, 5, 8),
    "model.film": "decoder",
    "model.encoder_channels": 2,
    "model.decoder_channels": 3,
  },
}


@dataclasses.dataclass(frozen=True)
class Made:
  codec: codec_lib.Codec
  folder: object
  float32: litert.LiteRt
  int8: litert.LiteRt
  audio: np.ndarray  # [2, N]
  codes: np.ndarray  # [2, F, Q]

  def on(self, side, denoise):
    return denoise and self.codec.film == side


@pytest.fixture(scope="module", params=MODELS)
def made(request, small_config, tmp_path_factory):
  codec = variants.lively(small_config(**MODELS[request.param]))
  folder = tmp_path_factory.mktemp("litert")
  (folder / litert.INT8).mkdir()
  files = litert.FORMAT.files(codec.as_exported(), format_lib.Options())
  for name, data in files.items():
    (folder / name).write_bytes(data)
  float32, int8 = litert.runtimes(folder)
  audio = variants.sound(codec, frames=FRAMES)
  return Made(codec, folder, float32, int8, audio, codec.encode(audio))


@pytest.mark.parametrize("denoise", [False, True])
def test_codes_are_those_of_the_codec(made, denoise):
  assert len(np.unique(made.codes)) > 10
  found = made.float32.encode(
    made.audio, num_quantizers=LAYERS, denoise=denoise
  )
  assert found.dtype == np.int32
  on = made.on("encoder", denoise)
  np.testing.assert_array_equal(
    found, made.codec.encode(made.audio, denoise=on)
  )
  assert (found != made.codes).any() == on


def test_a_clip_in_a_batch_is_the_clip_alone(made):
  alone = made.float32.encode(made.audio[1:], num_quantizers=2)
  np.testing.assert_array_equal(alone, made.codes[1:, :, :2])
  np.testing.assert_array_equal(
    made.float32.decode(made.codes)[1:], made.float32.decode(made.codes[1:])
  )


@pytest.mark.parametrize("denoise", [False, True])
def test_audio_is_that_of_the_codec_for_any_number_of_layers(made, denoise):
  on = made.on("decoder", denoise)
  for layers in range(1, LAYERS + 1):
    codes = made.codes[..., :layers]
    expected = made.codec.decode(codes, denoise=on)
    found = made.float32.decode(codes, denoise=denoise)
    variants.assert_sounds_alike(found, expected)
  assert (expected != made.codec.decode(made.codes)).any() == on


def test_streams_are_files_though_blocks_differ(made):
  assert sum(BLOCKS) == FRAMES
  for blocks in (BLOCKS, BLOCKS[::-1], [1] * FRAMES):
    found = made.float32.encode_stream(
      made.audio, blocks, num_quantizers=LAYERS
    )
    np.testing.assert_array_equal(found, made.codes)


def test_what_is_lost_is_concealed_in_blocks_of_every_size(made):
  layers = variants.losses(made.codec, frames=FRAMES)
  assert (layers == 0).sum() > 40
  expected = made.codec.decode(made.codes, layers=layers)
  ones, eights = [1] * FRAMES, blocks_lib.cut(FRAMES, (1, 8))
  for blocks in (ones, eights, blocks_lib.cut(FRAMES, (1, 8, 32)), BLOCKS):
    found = made.float32.decode_stream(made.codes, layers, blocks)
    variants.assert_sounds_alike(found, expected)


def test_int8_is_near_and_says_that_it_is_another_model(made):
  assert made.int8.lossy and not made.float32.lossy
  assert made.int8.name != made.float32.name
  codes = made.int8.encode(made.audio, num_quantizers=LAYERS)
  assert codes.shape == made.codes.shape and (codes != made.codes).any()
  audio, expected = made.int8.decode(made.codes), made.codec.decode(made.codes)
  assert 15 < parity.snr_db(audio, expected) < 80
  about = json.loads((made.folder / litert.ABOUT).read_text())
  own, other = (
    bytes.fromhex(x["fingerprint"]) for x in (about, about[litert.INT8])
  )
  assert own == made.codec.fingerprint
  assert other == litert.int8_fingerprint(own) != own
  assert about[litert.INT8]["lossy"]


def test_a_file_says_what_it_is_and_how_it_is_called(made):
  about = json.loads((made.folder / litert.ABOUT).read_text())
  assert len(about["files"]) == 2 * len(functions.BLOCKS)
  for name, said in about["files"].items():
    for path, known in (
      (made.folder / name, about),
      (made.folder / litert.INT8 / name, about[litert.INT8]),
    ):
      found = _metadata(path.read_bytes())
      assert found["fingerprint"] == known["fingerprint"]
      assert found["lossy"] == known["lossy"]
      assert found["hop"] == made.codec.hop_samples
      step = _opened(path.read_bytes())
      inputs = step.get_input_details()
      assert inputs.keys() == said["inputs"].keys()
      for key, what in said["inputs"].items():
        assert list(inputs[key]["shape"]) == what["shape"]
        assert np.dtype(inputs[key]["dtype"]) == what["dtype"]
      assert step.get_output_details().keys() == set(said["outputs"])
  sizes = {
    (name.split("_")[0], tuple(said["inputs"]["state"]["shape"]))
    for name, said in about["files"].items()
  }
  assert len(sizes) == 2, "a state fits blocks of every size"


@pytest.mark.parametrize("name", variants.MODELS)
def test_every_option_is_carried(name, small_config):
  codec, *_ = random_codec.random_codec(small_config(**variants.MODELS[name]))
  model, frames, block = codec.as_exported(), 60, 3
  audio = variants.sound(codec, clips=1, frames=frames)
  layers = variants.losses(codec, frames=frames)[1:]
  codes = codec.encode(audio)
  for program, key, expected, arrays in (
    (functions.encode_step(model, 1, block), "codes", codes, {"audio": audio}),
    (
      functions.decode_step(model, 1, block),
      "audio",
      codec.decode(codes, layers=layers),
      {"codes": codes, "layers": layers},
    ),
  ):
    data, again = litert.tflite(program, {}, {})
    assert data == again and b".py" not in data
    found = _stream(data, key, block, arrays, program)
    if key == "codes":
      np.testing.assert_array_equal(found, expected)
    else:
      variants.assert_sounds_alike(found, expected)


def test_other_versions_are_refused_with_the_extra(small_config, monkeypatch):
  versions = litert.PINS | {"litert-converter": "0.6.0"}
  monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
  litert._check_versions.cache_clear()
  codec, *_ = random_codec.random_codec(small_config())
  with pytest.raises(errors.InputError) as caught:
    litert.files(codec.as_exported(), format_lib.Options())
  assert "litert-converter==0.5.0 (0.6.0)" in str(caught.value)
  assert "soundstream_jax[export-litert]" in str(caught.value)
  assert "ai-edge-litert" not in str(caught.value)


def _opened(data):
  from ai_edge_litert import interpreter

  found = interpreter.Interpreter(model_content=data, num_threads=1)
  return found.get_signature_runner(litert.SIGNATURE)


def _stream(data, key, block, arrays, program):
  step = _opened(data)

  def one(frames, state, *inputs):
    inputs = {"state": state, **dict(zip(arrays, inputs, strict=True))}
    if "denoise" in program.inputs:
      inputs["denoise"] = np.zeros(1, bool)
    outputs = step(**inputs)
    return outputs["new_state"], outputs[key]

  state = np.zeros(program.inputs["state"].shape, np.float32)
  frames = next(iter(arrays.values())).shape[1] // (
    program.inputs["audio"].shape[1] // block if key == "codes" else 1
  )
  blocks = [block] * (frames // block)
  return blocks_lib.run(one, state, blocks, *arrays.values())


def _metadata(data):
  """Reads what a .tflite says of itself, as any reader of the format does."""
  from ai_edge_litert import schema_py_generated as schema

  model = schema.Model.GetRootAs(data)
  for i in range(model.MetadataLength()):
    if model.Metadata(i).Name() == b"soundstream_jax":
      buffer = model.Buffers(model.Metadata(i).Buffer())
      return json.loads(bytes(buffer.DataAsNumpy()))
  raise AssertionError("no metadata")
