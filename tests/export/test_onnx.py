"""Laws of the format onnx: the same codes, in any batch and block."""

import dataclasses
import json

import jax
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec.stream import concealment
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import golden
from soundstream_jax.export.onnx import codes as codes_lib
from soundstream_jax.export.onnx import format as onnx_format
from soundstream_jax.export.onnx import graphs, runtime
from soundstream_jax.model import quantizers
from tests.codec import random_codec

# Every option that changes what is computed; hops of 20, 25, 40 and 8 samples.
MODELS = {
  "paper": {"model.strides": (4, 5)},
  "odd strides": {"model.strides": (5, 1, 5), "model.decoder_channels": 3},
  "snake": {"model.activation": "snake", "model.strides": (5, 8)},
  "mel": {"model.encoder": "mel", "model.strides": (4, 10)},
  "low_dim": {"quantizer.kind": "low_dim", "quantizer.code_dim": 3},
  "fsq": {"quantizer.kind": "fsq", "quantizer.codebook_size": 32},
  "film in the encoder": {"model.film": "encoder"},
  "film in the decoder": {"model.film": "decoder"},
  "wide units": {
    "model.residual_kernel": 3,
    "model.residual_hidden_ratio": 1.0,
    "quantizer.num_quantizers": 1,
  },
}
FRAMES = 130
LARGEST_BLOCK = 9


@dataclasses.dataclass(frozen=True)
class Made:
  """A random model, what the codec makes of sound, and its files opened."""

  codec: object
  model: exported.Exported
  folder: object
  opened: runtime.OnnxRuntime
  audio: np.ndarray  # [2, N]
  codes: np.ndarray  # [2, F, Q]

  @property
  def layers(self):
    return self.codes.shape[2]


@pytest.fixture(scope="module", params=MODELS)
def made(request, small_config, tmp_path_factory):
  return make(small_config(**MODELS[request.param]), tmp_path_factory)


@pytest.fixture(scope="module")
def paper(small_config, tmp_path_factory):
  return make(small_config(**MODELS["paper"]), tmp_path_factory)


def make(config, tmp_path_factory, change=lambda vectors: None):
  codec, params, vectors = random_codec.random_codec(config)
  change(vectors)
  codec = codec_lib.Codec(config, params, vectors, step=5, weights="ema")
  model = exported.Exported(config, params, vectors, step=5, weights="ema")
  folder = tmp_path_factory.mktemp("onnx")
  write(folder, onnx_format.files(model, format_lib.Options()))
  (opened,) = onnx_format.FORMAT.runtimes["onnxruntime"](folder)
  noise = np.random.default_rng(0).standard_normal(
    (2, FRAMES * codec.hop_samples)
  )
  audio = (0.3 * noise).astype(np.float32)
  return Made(codec, model, folder, opened, audio, codec.encode(audio))


def write(folder, files):
  for name, data in files.items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def blocks(seed):
  """Returns lengths of blocks that add up to FRAMES."""
  random = np.random.default_rng(seed)
  lengths = random.integers(1, LARGEST_BLOCK + 1, FRAMES)
  ends = np.cumsum(lengths)
  ends = np.append(ends[ends < FRAMES], FRAMES)
  return np.diff(ends, prepend=0).tolist()


def arrived(layers):
  """Returns layers of frames of two clips, [2, F]: one bad network, one worse.

  The first begins in the middle of a gap; the second has frames of few layers.
  """
  both = np.stack(
    [golden.losses(FRAMES, layers, seed) for seed in range(2)]
  ).astype(np.int32)
  both[0, :5] = 0
  both[1] = np.minimum(both[1], np.arange(FRAMES) % (layers + 1))
  return both


def same_audio(found, expected):
  """float32 [B, N] within 1e-5; random models are louder than 1."""
  assert found.shape == expected.shape and found.dtype == np.float32
  loudest = max(1.0, np.abs(expected).max())
  assert np.abs(found - expected).max() <= 1e-5 * loudest


def test_codes_are_the_codecs_for_every_number_of_layers(made):
  for q in range(1, made.layers + 1):
    codes = made.opened.encode(made.audio, num_quantizers=q)
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, made.codes[..., :q])


def test_audio_is_the_codecs_for_every_number_of_layers(made):
  for q in range(1, made.layers + 1):
    codes = made.codes[..., :q]
    same_audio(made.opened.decode(codes), made.codec.decode(codes))


def test_a_clip_alone_gives_what_it_gives_in_a_batch(made):
  decoded = made.opened.decode(made.codes)
  for clip, codes, audio in zip(made.audio, made.codes, decoded, strict=True):
    alone = made.opened.encode(clip[None], num_quantizers=made.layers)
    np.testing.assert_array_equal(alone[0], codes)
    same_audio(made.opened.decode(codes[None]), audio[None])


def test_the_last_frame_is_filled_with_zeros(made):
  hop = made.codec.hop_samples
  for samples in (1, hop - 1, hop, 3 * hop + 1):
    clip = made.audio[0, :samples]
    codes = made.opened.encode(clip[None], num_quantizers=made.layers)
    np.testing.assert_array_equal(codes[0], made.codec.encode(clip))


def test_a_stream_in_any_blocks_gives_what_the_file_gives(made):
  for seed in range(2):
    codes = made.opened.encode_stream(
      made.audio, blocks(seed), num_quantizers=made.layers
    )
    np.testing.assert_array_equal(codes, made.codes)
    every = np.full(made.codes.shape[:2], made.layers, np.int32)
    audio = made.opened.decode_stream(made.codes, every, blocks(seed))
    same_audio(audio, made.codec.decode(made.codes))


def test_frames_that_are_lost_or_lack_layers_sound_as_the_codecs(made):
  layers = arrived(made.layers)
  expected = made.codec.decode(made.codes, layers=layers)
  for lengths in ([1] * FRAMES, blocks(0), [FRAMES]):
    audio = made.opened.decode_stream(made.codes, layers, lengths)
    same_audio(audio, expected)


def test_codes_that_did_not_arrive_may_be_any_numbers(paper):
  layers = arrived(paper.layers)
  absent = np.arange(paper.layers) >= layers[..., None]
  damaged = np.where(absent, 10**6, paper.codes).astype(np.int32)
  audio = paper.opened.decode_stream(damaged, layers, blocks(0))
  expected = paper.opened.decode_stream(paper.codes, layers, blocks(0))
  np.testing.assert_array_equal(audio, expected)


@pytest.mark.parametrize("side", ("encoder", "decoder"))
def test_the_switch_turns_each_clip_by_itself(
  side, small_config, tmp_path_factory
):
  made = make(small_config(**{"model.film": side}), tmp_path_factory)
  assert made.opened.switches
  given = {
    "encoder": ("encode", {"audio": made.audio, "num_quantizers": [3]}),
    "decoder": ("decode", {"codes": made.codes}),
  }
  graph, inputs = given[side]
  code = {"encoder": made.codec.encode, "decoder": made.codec.decode}[side]
  inputs["denoise"] = np.array([True, False])
  (found,) = made.opened.sessions[graph].run(None, inputs)
  expected = [
    code(clip, denoise=denoise)
    for clip, denoise in zip(
      inputs["audio" if side == "encoder" else "codes"],
      (True, False),
      strict=True,
    )
  ]
  same_audio(found.astype(np.float32), np.stack(expected).astype(np.float32))


def test_streams_have_the_switch_too(small_config, tmp_path_factory):
  made = make(small_config(**{"model.film": "encoder"}), tmp_path_factory)
  expected = made.codec.encode(made.audio, denoise=True)
  assert (expected != made.codes).any()
  codes = made.opened.encode_stream(
    made.audio, blocks(0), num_quantizers=made.layers, denoise=True
  )
  np.testing.assert_array_equal(codes, expected)
  made = make(small_config(**{"model.film": "decoder"}), tmp_path_factory)
  layers = arrived(made.layers)
  audio = made.opened.decode_stream(made.codes, layers, blocks(0), denoise=True)
  expected = made.codec.decode(made.codes, layers=layers, denoise=True)
  same_audio(audio, expected)


def test_of_codes_that_are_as_near_the_lowest_is_chosen(
  paper, small_config, tmp_path_factory
):
  vectors = np.array(paper.model.vectors)
  vectors[:, 8:] = vectors[:, :8]
  model = dataclasses.replace(paper.model, vectors=vectors)
  folder = tmp_path_factory.mktemp("twins")
  write(folder, onnx_format.files(model, format_lib.Options()))
  opened = runtime.open_folder(folder, graphs.GRAPHS)
  codes = opened.encode(paper.audio, num_quantizers=paper.layers)
  assert codes.max() < 8


def test_a_vector_of_no_length_is_a_code_like_others(
  small_config, tmp_path_factory
):
  config = small_config(**MODELS["low_dim"])
  made = make(config, tmp_path_factory, change=lambda v: v[:, 0].fill(0))
  codes = made.opened.encode(made.audio, num_quantizers=made.layers)
  np.testing.assert_array_equal(codes, made.codes)


def test_a_gap_is_counted_up_to_the_end_of_its_fade_alone(paper):
  session = paper.opened.sessions["decode_step"]
  size = session.get_inputs()[0].shape[1]
  state = np.zeros((2, size), np.float32)
  longest = sum(concealment.durations(float(paper.codec.frame_rate)))
  for heard in [1] + [0] * (2 * longest // 20 + 2):
    layers = np.full((2, 20), heard, np.int32)
    inputs = {"codes": paper.codes[:, :20], "layers": layers, "state": state}
    state, audio = session.run(None, inputs)
  dim = paper.codec.config.model.embedding_dim
  np.testing.assert_array_equal(state[:, dim], longest)
  assert np.abs(audio).max() < 1e-6


def test_files_say_what_a_program_has_to_know(made):
  rates = made.codec.rates
  for name in graphs.GRAPHS:
    file = onnx.load(made.folder / f"{name}.onnx")
    about = {prop.key: prop.value for prop in file.metadata_props}
    assert int(about["sample_rate"]) == rates.sample_rate_hz
    assert int(about["hop"]) == rates.hop_samples
    assert int(about["num_quantizers"]) == rates.num_quantizers
    assert int(about["codebook_size"]) == rates.codebook_size
    assert about["film"] == made.codec.film
    assert about["state"] == "zeros [B, S]"
    for side, step in (("encoder", "encode_step"), ("decoder", "decode_step")):
      state = made.opened.sessions[step].get_inputs()[0]
      assert int(about[f"{side}_state_size"]) == state.shape[1]
    assert bytes.fromhex(about["fingerprint"]) == made.codec.fingerprint
    config = config_lib.from_dict(json.loads(about["config"]))
    assert config == made.codec.config
    assert {"version", "format_version"} < set(about)


def test_inputs_and_outputs_are_those_that_are_documented(made):
  expected = {
    "encode": (["audio", "num_quantizers"], ["codes"]),
    "decode": (["codes"], ["audio"]),
    "encode_step": (
      ["state", "audio", "num_quantizers"],
      ["new_state", "codes"],
    ),
    "decode_step": (["state", "codes", "layers"], ["new_state", "audio"]),
  }
  for name, (inputs, outputs) in expected.items():
    session = made.opened.sessions[name]
    side = name.removesuffix("_step") + "r"
    if made.codec.film == side:
      inputs.append("denoise")
    assert [i.name for i in session.get_inputs()] == inputs
    assert [o.name for o in session.get_outputs()] == outputs


def test_graphs_are_valid_small_and_for_old_runtimes(made):
  for name in graphs.GRAPHS:
    file = onnx.load(made.folder / f"{name}.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert file.ir_version == 8
    assert [(o.domain, o.version) for o in file.opset_import] == [("", 17)]
    assert len(file.graph.node) < 250


def test_a_codebook_is_stored_once(paper):
  for name, side in (("encode", "encoder"), ("decode", "decoder")):
    file = onnx.load(paper.folder / f"{name}.onnx")
    stored = sum(
      numpy_helper.to_array(tensor).size
      for tensor in file.graph.initializer
      if tensor.data_type == onnx.TensorProto.FLOAT
    )
    params = paper.model.params[side]
    network = sum(array.size for array in jax.tree.leaves(params))
    vectors = paper.model.vectors
    norms = vectors[..., 0].size if name == "encode" else 0
    # A transposed kernel's bias is there for each sample of a stride.
    repeated = sum(
      (stride - 1) * params[f"stage{i}_up"]["bias"].size
      for i, stride in enumerate((5, 4))
      if name == "decode"
    )
    assert stored == network + vectors.size + norms + repeated


def test_the_same_model_gives_the_same_bytes(paper):
  again = onnx_format.files(paper.model, format_lib.Options())
  for name, data in again.items():
    assert (paper.folder / name).read_bytes() == data


def test_a_changed_tensor_changes_its_own_digest_alone(paper, tmp_path):
  params = jax.tree.map(np.copy, paper.model.params)
  params["decoder"]["input"]["bias"][0] += 1
  model = dataclasses.replace(paper.model, params=params)
  write(tmp_path, onnx_format.files(model, format_lib.Options()))
  before, after = map(onnx_format.FORMAT.tensors, (paper.folder, tmp_path))
  assert before["encode.onnx"] == after["encode.onnx"]
  for name in ("decode.onnx", "decode_step.onnx"):
    changed = {n for n in before[name] if before[name][n] != after[name][n]}
    assert changed == {"decoder/input/bias"}


def test_every_kind_of_quantizer_is_written(small_config):
  assert set(codes_lib.NEAREST) == set(quantizers.KINDS)
  for config in (small_config(**options) for options in MODELS.values()):
    assert onnx_format.refusal(config, format_lib.Options()) is None


def test_a_kind_that_came_later_is_refused_by_name(small_config, monkeypatch):
  config = small_config(**{"quantizer.kind": "fsq"})
  monkeypatch.delitem(codes_lib.NEAREST, "fsq")
  reason = onnx_format.refusal(config, format_lib.Options())
  assert "quantizer.kind=fsq" in reason
