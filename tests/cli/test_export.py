"""Laws of `soundstream export` beside the checkpoint: formats, list, check."""

import pytest
from safetensors import numpy as safetensors

from soundstream_jax.checkpoint import exported
from soundstream_jax.cli import __main__ as command
from soundstream_jax.export import formats, manifest


def test_several_formats_lie_side_by_side_and_are_checked_together(
  run, workdir, loaded_once, tmp_path, capsys
):
  model = f"--model={workdir}"
  out = run("export", tmp_path / "all", model, "--format=params,onnx,params")
  assert {path.name for path in (tmp_path / "all").iterdir()} == {
    "params",
    "onnx",
  }
  assert out.count("exact") == 2
  out = run("export", f"--check={tmp_path / 'all'}")
  assert out.count("as it was written") == 2

  path = tmp_path / "all/params" / exported.ARRAYS
  arrays = dict(safetensors.load_file(path))
  arrays["codebooks/vectors"] += 1
  safetensors.save_file(arrays, path)
  assert command.main(["export", f"--check={tmp_path / 'all'}"]) == 1
  printed = capsys.readouterr().out
  assert "the tensor codebooks/vectors was changed" in printed
  assert printed.count("as it was written") == 1


def test_the_list_says_what_a_model_can_become_and_why_not(
  run, workdir, loaded_once
):
  out = run("export", "--format=list", f"--model={workdir}")
  for name in formats.FORMATS:
    assert f"{name} " in out
  out = run("export", "--format=list", f"--model={workdir}", "--dtype=float16")
  assert "no: --dtype=float16 is for params alone" in out


def test_a_folder_of_the_format_alone_is_the_format(
  run, workdir, loaded_once, tmp_path
):
  run("export", tmp_path / "one", f"--model={workdir}", "--format=onnx")
  assert manifest.read(tmp_path / "one")["format"] == "onnx"
  assert not exported.is_exported(tmp_path / "one")


@pytest.mark.parametrize(
  ("words", "match"),
  [
    (("x", "--format=onx"), "--format='onx' is none. Did you mean 'onnx'?"),
    ((), "FOLDER is missing"),
    (("x", "--num_quantizers=9"), "--num_quantizers=9 must be from 1 to the 3"),
    (("x", "--denoise"), "trained without denoising"),
    (("x", "--format=onnx", "--dtype=float16"), "is for params alone"),
    (("x", "--dtype=float16", "--with_training"), "--with_training goes with"),
    (("--check=nowhere",), "--check=nowhere: No such file or directory"),
    (("--check=.",), "has export.json, which `soundstream export` writes"),
  ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
  words, match, refused, workdir, loaded_once, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert match in refused("export", *words, f"--model={workdir}")
  assert list(tmp_path.iterdir()) == []


def test_a_model_is_asked_for(refused):
  assert "--model=FOLDER is missing" in refused("export", "x")


def test_a_folder_that_holds_one_is_not_written_over(
  run, refused, workdir, loaded_once, tmp_path
):
  words = ("export", tmp_path / "a", f"--model={workdir}", "--format=onnx")
  run(*words)
  assert "holds an exported model already" in refused(*words)
  # Of several, none is written when one cannot be.
  (tmp_path / "b").mkdir()
  (tmp_path / "a").rename(tmp_path / "b/onnx")
  words = ("export", tmp_path / "b", f"--model={workdir}", "--format=web,onnx")
  assert "b/onnx holds an exported model already" in refused(*words)
  assert [path.name for path in (tmp_path / "b").iterdir()] == ["onnx"]
