"""Laws of encoding a folder: its tree, all of it, nothing written over."""

import numpy as np
import pytest
import soundfile

from soundstream_jax.codec import __main__ as command
from soundstream_jax.codec.sstr import reader


@pytest.fixture
def tree(tmp_path):
  """Three files in two folders, one that is no audio, and a hidden one."""
  source = tmp_path / "in"
  for name in ("a.wav", "deep/er/b.flac", "deep/c.wav"):
    path = source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).normal(size=1_000)
    soundfile.write(path, 0.1 * noise, 16_000)
  (source / "deep" / "notes.txt").write_text("not audio")
  (source / "._a.wav").write_bytes(b"macOS")
  return source


@pytest.fixture
def encode(tree, tmp_path, workdir, loaded_once, capsys):
  """Encodes the tree; returns what was printed."""

  def run(*options, code=0):
    argv = ["encode", tree, tmp_path / "out", f"--model={workdir}", *options]
    assert command.main([str(word) for word in argv]) == code
    return capsys.readouterr()

  return run


def _files(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


def test_a_tree_is_mirrored_and_each_file_is_as_if_it_were_alone(
  encode, tree, tmp_path, workdir
):
  out, err = encode()
  assert "3 files encoded" in out
  assert "3 of 3 files" in err
  found = _files(tmp_path / "out")
  assert set(found) == {"a.sstr", "deep/er/b.sstr", "deep/c.sstr"}
  alone = tmp_path / "alone.sstr"
  argv = ["encode", tree / "deep/c.wav", alone, f"--model={workdir}"]
  assert command.main([str(word) for word in argv]) == 0
  assert alone.read_bytes() == found["deep/c.sstr"]


def test_a_bad_file_is_listed_and_the_others_are_encoded(
  encode, tree, tmp_path
):
  (tree / "bad.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
  out, err = encode(code=2)
  assert "3 files encoded" in out
  assert f"not encoded: {tree / 'bad.wav'}: " in err
  assert err.splitlines()[-1].startswith("error: 1 of 4 files could not")
  assert len(_files(tmp_path / "out")) == 3


def test_files_that_are_there_stay_unless_forced(encode, tmp_path):
  kept = tmp_path / "out" / "deep" / "c.sstr"
  kept.parent.mkdir(parents=True)
  kept.write_bytes(b"precious")
  out, _ = encode()
  assert "2 files encoded" in out and "1 were there already" in out
  assert kept.read_bytes() == b"precious"
  out, _ = encode()
  assert "0 files encoded" in out and "3 were there already" in out
  encode("--force", "--bitrate=250")
  assert reader.read(kept).header.num_quantizers == 1


def test_two_files_of_one_name_and_no_audio_are_refused_at_once(
  encode, tree, tmp_path
):
  soundfile.write(tree / "a.flac", np.zeros(9), 16_000)
  assert "would both become" in encode(code=2).err
  assert not (tmp_path / "out").exists()
  for path in tree.rglob("*"):
    if path.is_file():
      path.unlink()
  assert "no audio is in this folder" in encode(code=2).err
  (tmp_path / "out").write_bytes(b"a file")
  assert "is a file" in encode(code=2).err
