"""Laws of `soundstream import-torch`: parameters come back as they left."""

import io
import json
import zipfile

import numpy as np
import pytest
from safetensors import numpy as safetensors

import soundstream_jax
from soundstream_jax.checkpoint import exported
from soundstream_jax.cli import __main__ as command
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.torch import format as torch_format
from tests.codec import random_codec


def written(folder, model):
  folder.mkdir()
  files = torch_format.FORMAT.files(model, format_lib.Options())
  for name, data in files.items():
    (folder / name).write_bytes(data)
  return folder


@pytest.fixture(scope="module")
def model(small_config):
  config = small_config(**{"model.film": "encoder"})
  _, params, vectors = random_codec.random_codec(config)
  return exported.Exported(config, params, vectors, step=5, weights="ema")


@pytest.fixture
def folder(model, tmp_path):
  return written(tmp_path / "torch", model)


@pytest.fixture
def refused(capsys, tmp_path):
  """Runs the command with bad input and returns its one line."""

  def run(*words):
    out = tmp_path / "new"
    assert command.main(["import-torch", str(out), *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert not out.exists()
    return said.err

  return run


@pytest.mark.parametrize(
  "overrides",
  [
    {"model.film": "decoder"},
    {"model.activation": "snake", "model.strides": (5, 2)},
    {"model.encoder": "mel", "quantizer.kind": "fsq"},
    {"quantizer.kind": "low_dim", "quantizer.code_dim": 2},
  ],
)
def test_the_way_out_and_back_changes_no_bit(
  overrides, small_config, tmp_path, capsys
):
  codec, *_ = random_codec.random_codec(small_config(**overrides))
  left = codec.as_exported()
  source = written(tmp_path / "torch", left)
  out = tmp_path / "back"
  assert not command.main(["import-torch", str(out), f"--from={source}"])
  mark = exported.fingerprint_of(left).hex()
  assert f"step 5 (ema), fingerprint {mark[:12]}" in capsys.readouterr().out
  back = exported.read(out)
  assert back.config == left.config
  assert exported.fingerprint_of(back) == exported.fingerprint_of(left)
  ours = exported.flat(left)
  assert exported.flat(back).keys() == ours.keys()
  for name, array in exported.flat(back).items():
    np.testing.assert_array_equal(array, ours[name])
  assert soundstream_jax.load(out).fingerprint == codec.fingerprint


def test_weights_may_come_from_elsewhere_and_make_another_model(
  folder, model, tmp_path
):
  state = safetensors.load_file(folder / "model.safetensors")
  state["decoder.output.bias"] = state["decoder.output.bias"] + 0.25
  learnt = tmp_path / "learnt.safetensors"
  safetensors.save_file(state, learnt)
  out = tmp_path / "back"
  words = ("import-torch", out, f"--from={folder}", f"--weights_file={learnt}")
  assert not command.main([*map(str, words)])
  back = exported.read(out)
  bias = model.params["decoder"]["output"]["bias"]
  np.testing.assert_array_equal(
    back.params["decoder"]["output"]["bias"], bias + np.float32(0.25)
  )
  assert exported.fingerprint_of(back) != exported.fingerprint_of(model)


def test_half_precision_comes_back_rounded(folder, model, tmp_path):
  state = safetensors.load_file(folder / "model.safetensors")
  half = {name: array.astype(np.float16) for name, array in state.items()}
  safetensors.save_file(half, folder / "model.safetensors")
  out = tmp_path / "back"
  assert not command.main(["import-torch", str(out), f"--from={folder}"])
  np.testing.assert_array_equal(
    exported.read(out).vectors,
    model.vectors.astype(np.float16).astype(np.float32),
  )


def test_a_folder_that_holds_a_model_is_left_alone(folder, tmp_path, capsys):
  out = tmp_path / "back"
  words = ["import-torch", str(out), f"--from={folder}"]
  assert not command.main(words)
  before = (out / "model.safetensors").read_bytes()
  capsys.readouterr()
  assert command.main(words) == 2
  assert "holds an exported model already" in capsys.readouterr().err
  assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
  ("name", "data"), [("pickle", b"\x80\x02}q\x00."), ("zip", None)]
)
def test_a_pickle_is_refused_with_how_to_save_it(name, data, folder, refused):
  if data is None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
      archive.writestr("archive/data.pkl", b"")
    data = file.getvalue()
  path = folder / f"{name}.pt"
  path.write_bytes(data)
  said = refused(f"--from={folder}", f"--weights_file={path}")
  assert "is a pickle of PyTorch" in said and "save_file" in said


def test_what_is_missing_too_much_or_another_is_named(folder, refused):
  path = folder / "model.safetensors"
  state = safetensors.load_file(path)
  name = "encoder.stages.0.units.1.dilated.weight"

  def said(changed):
    safetensors.save_file(changed, path)
    return refused(f"--from={folder}")

  assert f"the tensor {name} is missing" in said(
    {n: a for n, a in state.items() if n != name}
  )
  assert "the tensor other belongs to no part" in said(
    state | {"other": state[name]}
  )
  assert f"{name} has shape (1,), not (2, 4, 7)" in said(
    state | {name: np.zeros(1, np.float32)}
  )
  assert f"the tensor {name} is int32" in said(
    state | {name: np.zeros((2, 4, 7), np.int32)}
  )


def test_files_that_are_none_are_named(folder, refused, tmp_path):
  assert "--from=nowhere: there is none" in refused("--from=nowhere")
  assert "--weights_file=nothing: there is none" in refused(
    f"--from={folder}", "--weights_file=nothing"
  )
  empty = tmp_path / "empty"
  empty.mkdir()
  assert "config.json" in refused(f"--from={empty}", f"--weights_file={folder}")
  about = json.loads((folder / "config.json").read_text())
  for change, says in (
    ({"format_version": 2}, "has format version 2; this version reads 1"),
    ({"config": {"model": {"strides": "x"}}}, "model.strides"),
    ({"step": None}, "is damaged"),
  ):
    (folder / "config.json").write_text(json.dumps(about | change))
    assert says in refused(f"--from={folder}")
  (folder / "config.json").write_text("{}")
  assert "is not that of an exported folder" in refused(f"--from={folder}")
  (folder / "config.json").write_text(json.dumps(about))
  (folder / "model.safetensors").write_bytes(b"no such file")
  assert "cannot be read as safetensors" in refused(f"--from={folder}")


def test_a_training_dtype_that_numpy_lacks_says_how_to_save(folder, refused):
  header = {"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
  text = json.dumps(header).encode()
  data = len(text).to_bytes(8, "little") + text + b"\0\0"
  (folder / "model.safetensors").write_bytes(data)
  said = refused(f"--from={folder}")
  assert "float" in said and said.startswith("error: ")


def test_numbers_that_are_not_finite_are_refused(model, folder, refused):
  path = folder / "model.safetensors"
  state = safetensors.load_file(path)
  state["film.scale"][0, 0] = np.inf
  safetensors.save_file(state, path)
  assert "film.scale" in refused(f"--from={folder}")
