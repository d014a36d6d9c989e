"""Laws of commands on folders: the tree, all of it, nothing written over."""

import numpy as np
import pytest
import soundfile

from soundstream_jax.cli import __main__ as command
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


def _run(*words, code=0):
  assert command.main([str(word) for word in words]) == code


def test_decode_and_transcode_mirror_a_tree_as_if_each_were_alone(
  encode, tmp_path, workdir, capsys
):
  encode()
  coded, model = tmp_path / "out", f"--model={workdir}"
  (coded / "notes.txt").write_text("no code")
  _run("transcode", coded, tmp_path / "low", "--bitrate=250")
  _run("decode", tmp_path / "low", tmp_path / "heard", model)
  out, _ = capsys.readouterr()
  assert "3 files transcoded" in out and "3 files decoded" in out
  low, heard = _files(tmp_path / "low"), _files(tmp_path / "heard")
  names = ("a", "deep/c", "deep/er/b")
  assert sorted(low) == [f"{name}.sstr" for name in names]
  assert sorted(heard) == [f"{name}.wav" for name in names]
  for name in names:
    one, sound = tmp_path / "one.sstr", tmp_path / "one.wav"
    _run("transcode", coded / f"{name}.sstr", one, "--bitrate=250", "--force")
    _run("decode", one, sound, model, "--force")
    assert one.read_bytes() == low[f"{name}.sstr"]
    assert sound.read_bytes() == heard[f"{name}.wav"]


def test_a_damaged_file_of_a_folder_is_named_and_used(
  encode, tmp_path, workdir, capsys
):
  encode()
  path = tmp_path / "out" / "deep" / "c.sstr"
  data = bytearray(path.read_bytes())
  data[-2] ^= 1
  path.write_bytes(data)
  _run("decode", tmp_path / "out", tmp_path / "d", f"--model={workdir}", code=2)
  out, err = capsys.readouterr()
  assert "3 files decoded" in out and len(_files(tmp_path / "d")) == 3
  assert f"damaged: {path}: at 0.000 s: layer 3 is damaged" in err
  assert err.splitlines()[-1].startswith("error: 1 of 3 files are damaged")


def test_what_is_left_out_of_a_folder_is_said(encode, tree, monkeypatch):
  monkeypatch.setenv("PATH", "")
  (tree / "video.m4a").write_bytes(b"")
  (tree / "gone.wav").symlink_to("nowhere.wav")
  _, err = encode()
  told = "left out: 1 .m4a, 1 broken link; install ffmpeg for these formats"
  assert err.splitlines()[0] == told


def test_one_file_named_for_a_folder_is_refused(tree, refused, workdir):
  for words in (
    ("encode", tree, "a.sstr", f"--model={workdir}"),
    ("decode", tree, "a.wav", f"--model={workdir}"),
    ("encode", tree, "-", f"--model={workdir}"),
  ):
    assert "Name a folder" in refused(*words)


def test_files_never_become_themselves_or_what_was_made_of_them(
  encode, tmp_path, refused, capsys
):
  encode()
  coded = tmp_path / "out"
  before = _files(coded)
  words = ("transcode", coded, coded, "--bitrate=250", "--force")
  assert "the same folder" in refused(*words)
  assert _files(coded) == before
  for _ in range(2):
    _run("transcode", coded, coded / "low", "--bitrate=250")
  assert "3 were there already" in capsys.readouterr().out
  assert len(_files(coded)) == 6


def test_a_folder_may_be_encoded_into_itself(tree, workdir, loaded_once):
  _run("encode", tree, tree, f"--model={workdir}")
  assert (tree / "deep" / "c.sstr").is_file()
