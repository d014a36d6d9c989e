"""Laws of the format `torch`: model.py computes what the codec computes."""

import ast
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from soundstream_jax import errors
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec.stream import decoder, encoder
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.torch import format as torch_format
from soundstream_jax.export.torch import importing
from soundstream_jax.export.torch import runtime as runtime_lib
from tests.codec import random_codec
from tests.export import variants

SOURCE = pathlib.Path(torch_format.__file__).with_name("model.py.txt")
slow = pytest.mark.slow


@pytest.fixture(scope="module", params=variants.MODELS)
def pair(request, small_config, tmp_path_factory):
  """Returns (Codec, Runtime) of one model."""
  config = small_config(**variants.MODELS[request.param])
  return variants.opened(
    torch_format.FORMAT, config, tmp_path_factory.mktemp("torch")
  )


@pytest.fixture(scope="module")
def small(small_config, tmp_path_factory):
  """Returns (Codec, model.py as a module, its folder)."""

  folder = tmp_path_factory.mktemp("small")
  codec, _ = variants.opened(torch_format.FORMAT, small_config(), folder)
  return codec, runtime_lib._module(), folder


def switches(codec, side):
  """The positions of the switch on one side."""
  return (False, True) if codec.film == side else (False,)


@slow
def test_codes_are_the_codecs(pair):
  codec, runtime = pair
  audio = variants.sound(codec)
  for denoise in switches(codec, "encoder"):
    expected = codec.encode(audio, denoise=denoise)
    found = runtime.encode(
      audio, num_quantizers=codec.num_quantizers, denoise=denoise
    )
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@slow
def test_audio_is_the_codecs(pair):
  codec, runtime = pair
  codes = codec.encode(variants.sound(codec))
  for denoise in switches(codec, "decoder"):
    for layers in range(1, codec.num_quantizers + 1):
      some = codes[..., :layers]
      variants.assert_sounds_alike(
        runtime.decode(some, denoise=denoise),
        codec.decode(some, denoise=denoise),
      )


@slow
def test_first_layers_are_a_prefix(pair):
  codec, runtime = pair
  audio = variants.sound(codec)
  whole = runtime.encode(audio, num_quantizers=codec.num_quantizers)
  for layers in range(1, codec.num_quantizers):
    np.testing.assert_array_equal(
      runtime.encode(audio, num_quantizers=layers), whole[..., :layers]
    )


@slow
def test_a_batch_is_its_clips_one_by_one(pair):
  codec, runtime = pair
  audio, layers = variants.sound(codec), codec.num_quantizers
  codes = runtime.encode(audio, num_quantizers=layers)
  sound = runtime.decode(codes)
  for clip in (slice(0, 1), slice(1, 2)):
    np.testing.assert_array_equal(
      runtime.encode(audio[clip], num_quantizers=layers), codes[clip]
    )
    variants.assert_sounds_alike(runtime.decode(codes[clip]), sound[clip])


@slow
def test_streams_of_random_blocks_are_whole_files(pair):
  codec, runtime = pair
  audio, blocks = variants.sound(codec), variants.blocks()
  for denoise in switches(codec, "encoder"):
    found = runtime.encode_stream(
      audio, blocks, num_quantizers=2, denoise=denoise
    )
    np.testing.assert_array_equal(
      found, codec.encode(audio, denoise=denoise)[..., :2]
    )
  codes = codec.encode(audio)
  every = np.full(codes.shape[:2], codes.shape[2], np.int32)
  for denoise in switches(codec, "decoder"):
    variants.assert_sounds_alike(
      runtime.decode_stream(codes, every, blocks, denoise=denoise),
      codec.decode(codes, denoise=denoise),
    )


@slow
def test_lost_frames_are_concealed_as_the_codec_does(pair):
  codec, runtime = pair
  codes = codec.encode(variants.sound(codec))
  layers = variants.losses(codec)
  assert (layers == 0).any() and (layers == codec.num_quantizers).any()
  expected = codec.decode(codes, layers=layers)
  for blocks in ([1] * variants.FRAMES, variants.blocks(), [variants.FRAMES]):
    variants.assert_sounds_alike(
      runtime.decode_stream(codes, layers, blocks), expected
    )


@slow
def test_streams_may_change_the_switch_and_their_rows(small_config, tmp_path):
  config = small_config(**{"model.film": "encoder"})
  codec, runtime = variants.opened(torch_format.FORMAT, config, tmp_path)
  import torch

  audio = variants.sound(codec)
  both = codec.encode(audio[:1]), codec.encode(audio[1:], denoise=True)
  found = runtime._codec.encode(
    torch.tensor(audio), denoise=torch.tensor([False, True])
  )
  np.testing.assert_array_equal(found, np.concatenate(both))
  assert not np.array_equal(both[1], codec.encode(audio[1:]))
  with pytest.raises(ValueError, match="the decoder cannot denoise"):
    runtime._codec.decode(found, denoise=True)


@slow
def test_a_rest_is_filled_with_zeros_as_the_codec_does(small):
  import torch

  codec, module, folder = small
  model = module.load(folder)
  for samples in (1, codec.hop_samples - 1, 5 * codec.hop_samples + 3):
    audio = variants.sound(codec)[:1, :samples]
    found = model.encode(torch.tensor(audio))
    np.testing.assert_array_equal(found, codec.encode(audio))


@slow
def test_what_does_not_fit_is_refused(small):
  import torch

  _, module, folder = small
  model = module.load(folder)
  state = model.new_state("encoder", 1)
  with pytest.raises(ValueError, match="9 samples are not frames of 8"):
    model.encode_step(state, torch.zeros(1, 9))
  for layers in (0, 4):
    with pytest.raises(ValueError, match=f"{layers} of 3 layers"):
      model.encode_step(state, torch.zeros(1, 8), layers)


@slow
def test_a_state_is_one_tensor_of_what_layers_keep(small):
  import torch

  codec, module, folder = small
  model = module.load(folder)
  zeros = model.new_state("encoder", 2)
  assert zeros.shape[0] == 2 and not zeros.any()
  state, _ = model.encode_step(zeros, torch.zeros(2, 4 * codec.hop_samples))
  assert state.shape == zeros.shape and not zeros.any()
  # As ours: what convolutions keep, and for losses a frame and two numbers.
  for side, streams in (
    ("encoder", encoder.StreamEncoder),
    ("decoder", decoder.StreamDecoder),
  ):
    ours = streams(codec, block_frames=1)._buffer._state
    assert model.new_state(side).shape[1] == ours.values.shape[1]


@slow
def test_parameters_that_learnt_in_pytorch_come_back(small, tmp_path):
  import safetensors.torch
  import torch

  codec, module, folder = small
  model = module.load(folder).requires_grad_(True)
  codes = torch.tensor(codec.encode(variants.sound(codec))).long()
  optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
  model.decode(codes).square().mean().backward()
  optimizer.step()
  path = tmp_path / "learnt.safetensors"
  safetensors.torch.save_file(model.state_dict(), path)
  back = importing.read(folder, path)
  assert any(
    (one != other).any()
    for one, other in zip(
      jax.tree.leaves(back.params),
      jax.tree.leaves(codec.as_exported().params),
      strict=True,
    )
  )
  learnt = codec_lib.Codec(
    back.config, back.params, back.vectors, step=1, weights="ema"
  )
  with torch.no_grad():
    sound = model.decode(codes).numpy()
  variants.assert_sounds_alike(
    sound, np.asarray(learnt.decode(codes.numpy().astype(np.int32)))
  )


@slow
@pytest.mark.parametrize("name", ["film in the encoder", "snake", "mel", "fsq"])
def test_steps_are_graphs_that_pytorch_exports(name, small_config, tmp_path):
  """ExecuTorch and Core ML begin with these."""
  import torch

  config = small_config(**variants.MODELS[name])
  ours, runtime = variants.opened(torch_format.FORMAT, config, tmp_path)
  codec = runtime._codec
  audio = torch.tensor(variants.sound(ours, frames=4))
  _, codes = codec.encode_step(codec.new_state("encoder", 2), audio)
  layers = torch.tensor([[3, 0, 2, 1], [0, 0, 3, 3]])

  class Step(torch.nn.Module):
    def __init__(self, name):
      super().__init__()
      self.codec, self.name = codec, name

    def forward(self, *arguments):
      return getattr(self.codec, self.name)(*arguments)

  for side, arguments in (("encode", (audio,)), ("decode", (codes, layers))):
    arguments = (codec.new_state(f"{side}r", 2), *arguments)
    step = Step(f"{side}_step")
    graph = torch.export.export(step, arguments).module()
    for one, other in zip(graph(*arguments), step(*arguments), strict=True):
      assert torch.equal(one, other)


@slow
def test_the_folder_needs_nothing_of_ours(small):
  *_, folder = small
  code = (
    "import sys\n"
    "import model, torch\n"
    "codec = model.load('.')\n"
    "assert codec.encode(torch.zeros(1, 800)).shape == (1, 100, 3)\n"
    "ours = {m.split('.')[0] for m in sys.modules}\n"
    "assert not ours & {'soundstream_jax', 'jax', 'flax', 'transformers'}\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True
  )
  assert (done.returncode, done.stderr) == (0, "")


def test_the_module_imports_torch_and_safetensors_alone():
  tree = ast.parse(SOURCE.read_text())
  found = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found.add(node.module.split(".")[0])
  assert found - set(sys.stdlib_module_names) == {"torch", "safetensors"}


def test_the_module_says_what_each_part_is():
  tree = ast.parse(SOURCE.read_text())
  classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
  assert ast.get_docstring(tree) and all(map(ast.get_docstring, classes))
  assert max(map(len, SOURCE.read_text().splitlines())) <= 80


def test_what_is_written_is_the_module_as_it_is(small_config):
  codec, *_ = random_codec.random_codec(small_config())
  files = torch_format.FORMAT.files(codec.as_exported(), format_lib.Options())
  assert files.keys() == {"model.py", "config.json", "model.safetensors"}
  assert files["model.py"] == SOURCE.read_bytes()
  state = safetensors.load(files["model.safetensors"])
  assert {array.dtype.name for array in state.values()} == {"float32"}


def test_a_module_that_somebody_changed_is_not_run(tmp_path):
  mark = tmp_path / "mark"
  text = runtime_lib.SOURCE.read_text()
  (tmp_path / "model.py").write_text(f"open({str(mark)!r}, 'w')\n{text}")
  with pytest.raises(errors.InputError, match="it is not run"):
    runtime_lib.open_folder(tmp_path)
  assert not mark.exists()
