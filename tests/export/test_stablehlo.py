"""Laws of the format stablehlo: programs that take jax alone, of any batch."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export
from jax.extend import backend

from soundstream_jax import errors
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import formats, functions, golden, stablehlo
from tests.export import variants

FRAMES, HOP = 130, 320
LAYERS = 3
BLOCKS = [1, 32, 8, 8, 1, 1, 32, 32, 8, 1, 1, 1, 1, 1, 1, 1]
# The strides of a preset; the switch is an argument of the encoder.
STRIDES = {"model.strides": (2, 4, 5, 8), "model.film": "encoder"}
SMALLER = {"model.encoder_channels": 2, "model.decoder_channels": 2}


@pytest.fixture(scope="module")
def codec(small_config):
  return variants.lively(small_config(**STRIDES, **SMALLER))


@pytest.fixture(scope="module")
def folder(codec, tmp_path_factory):
  path = tmp_path_factory.mktemp("stablehlo")
  files = stablehlo.FORMAT.files(codec.as_exported(), format_lib.Options())
  for name, data in files.items():
    (path / name).write_bytes(data)
  return path


@pytest.fixture(scope="module")
def runtime(folder):
  (runtime,) = stablehlo.runtimes(folder)
  return runtime


@dataclasses.dataclass(frozen=True)
class Heard:
  audio: np.ndarray  # [2, N]
  codes: np.ndarray  # [2, F, Q]
  layers: np.ndarray  # [2, F]


@pytest.fixture(scope="module")
def heard(codec):
  assert sum(BLOCKS) == FRAMES
  audio = variants.sound(codec, frames=FRAMES)
  layers = variants.losses(codec, frames=FRAMES)
  return Heard(audio, codec.encode(audio), layers)


def test_codes_are_those_of_the_codec_in_any_batch(codec, runtime, heard):
  assert len(np.unique(heard.codes)) > 10
  found = runtime.encode(heard.audio, num_quantizers=LAYERS)
  assert found.dtype == np.int32
  np.testing.assert_array_equal(found, heard.codes)
  alone = runtime.encode(heard.audio[1:], num_quantizers=LAYERS)
  np.testing.assert_array_equal(alone, heard.codes[1:])
  first = runtime.encode(heard.audio, num_quantizers=2)
  np.testing.assert_array_equal(first, heard.codes[..., :2])
  quiet = runtime.encode(heard.audio, num_quantizers=LAYERS, denoise=True)
  expected = codec.encode(heard.audio, denoise=True)
  np.testing.assert_array_equal(quiet, expected)
  assert (expected != heard.codes).any()


def test_audio_is_that_of_the_codec_for_any_number_of_layers(
  codec, runtime, heard
):
  for layers in range(1, LAYERS + 1):
    codes = heard.codes[..., :layers]
    found, expected = runtime.decode(codes), codec.decode(codes)
    variants.assert_sounds_alike(found, expected)
  few = runtime.decode(codes[:1, :7])
  variants.assert_sounds_alike(few, expected[:1, : 7 * HOP])


def test_streams_are_files_though_blocks_differ(codec, runtime, heard):
  found = runtime.encode_stream(heard.audio, BLOCKS, num_quantizers=2)
  np.testing.assert_array_equal(found, heard.codes[..., :2])
  for layers in (np.full_like(heard.layers, LAYERS), heard.layers):
    found = runtime.decode_stream(heard.codes, layers, BLOCKS)
    expected = codec.decode(heard.codes, layers=layers)
    variants.assert_sounds_alike(found, expected)
  # Fewer layers of codes: those that are missing count as such.
  layers = np.minimum(heard.layers, 2)
  found = runtime.decode_stream(heard.codes[..., :2], layers, BLOCKS)
  expected = codec.decode(heard.codes, layers=layers)
  variants.assert_sounds_alike(found, expected)


def test_more_layers_than_there_are_and_parts_of_frames_are_refused(runtime):
  with pytest.raises(ValueError, match="shapes"):
    runtime.decode(np.zeros((1, 5, LAYERS + 1), np.int32))
  with pytest.raises(ValueError, match="320"):
    runtime.encode(np.zeros((1, HOP + 1), np.float32), num_quantizers=1)


def test_every_program_is_for_every_platform_and_says_its_arguments(
  folder, codec
):
  about = json.loads((folder / stablehlo.ABOUT).read_text())
  assert about["fingerprint"] == codec.fingerprint.hex()
  programs = sorted(folder.glob("*.jax"))
  assert len(programs) == 2 + 2 * len(functions.BLOCKS)
  for path in programs:
    program = export.deserialize(bytearray(path.read_bytes()))
    assert program.platforms == stablehlo.PLATFORMS
    said = about["files"][path.name]
    for like, (name, what) in zip(
      program.in_avals, said["inputs"].items(), strict=True
    ):
      assert [str(x) for x in like.shape] == [str(x) for x in what["shape"]]
      assert str(like.dtype) == what["dtype"], name
    assert len(program.out_avals) == len(said["outputs"])
    if "state" in said["inputs"]:
      size = about[f"{path.name.rsplit('_', 1)[0]}_state"]
      assert said["inputs"]["state"]["shape"] == ["b", size]


def test_texts_are_static_stablehlo_that_a_compiler_takes(folder, heard):
  texts = {path.stem: path.read_text() for path in folder.glob("*.mlir")}
  assert texts.keys() == {"encode", "decode", "encode_step_1", "decode_step_1"}
  for text in texts.values():
    assert "stablehlo." in text
    # Of no other dialect, for no runtime in particular, of known sizes.
    for word in ("custom_call", "chlo.", "tensor<?", "x?x"):
      assert word not in text
  # XLA's compiler, without jax's tracing.
  client = backend.get_backend("cpu")
  device = client.local_devices()[:1]
  program = client.compile_and_load(texts["encode"], device)
  second = 75
  audio = heard.audio[:1, : second * HOP]
  (codes,) = program.execute_sharded(
    [jax.device_put(x, device[0]) for x in (audio, np.zeros(1, bool))]
  ).disassemble_into_single_device_arrays()
  np.testing.assert_array_equal(codes[0], heard.codes[:1, :second])


def test_a_program_is_the_same_bytes_wherever_our_code_lies(folder, codec):
  for path in [*folder.glob("*.jax"), *folder.glob("*.mlir")]:
    assert b".py" not in path.read_bytes(), path
  limit = jax.config.jax_traceback_in_locations_limit
  again = functions.encode(codec.as_exported(), 1, 75)
  text = functions.traced(again, ["cpu"]).mlir_module()
  assert text == (folder / "encode.mlir").read_text()
  assert jax.config.jax_traceback_in_locations_limit == limit != 0


def test_a_stranger_needs_jax_and_flatbuffers_alone(folder, codec):
  """As the README prints it, where nothing of ours can be imported."""
  (folder / golden.NAME).write_bytes(golden.to_bytes(golden.make(codec)))
  blocked = (
    "import sys\n"
    "for name in ('soundstream_jax', 'flax', 'optax', 'orbax'):\n"
    "  sys.modules[name] = None\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", blocked + stablehlo.FORMAT.consumer],
    cwd=folder,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert float(done.stdout.split()[-1]) < 1e-5


@pytest.mark.parametrize("name", ["stablehlo", "litert"])
def test_what_rounds_otherwise_elsewhere_is_refused_by_name(name, small_config):
  half = small_config(**{"model.compute_dtype": "bfloat16"})
  options = format_lib.Options()
  assert "model.compute_dtype=bfloat16" in formats.refusal(name, half, options)
  options = format_lib.Options(dtype="float16")
  assert "--dtype=float16" in formats.refusal(name, small_config(), options)


def test_without_flatbuffers_the_extra_is_named(codec, monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, "flatbuffers", None)
  for use in (
    lambda: stablehlo.files(codec.as_exported(), format_lib.Options()),
    lambda: stablehlo.runtimes(tmp_path),
  ):
    with pytest.raises(errors.InputError, match=r"\[export-stablehlo\]"):
      use()
