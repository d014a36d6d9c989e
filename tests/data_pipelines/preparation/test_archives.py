"""Archives as sites ship them: joined, checked, safe, and resumed."""

import hashlib
import io
import itertools
import os
import pathlib
import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.data import source
from soundstream_jax.data_pipelines import corpus, prepare
from soundstream_jax.data_pipelines.preparation import (
  archives,
  datasheet,
  inputs,
  split_file,
)


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
  """Drawing takes longer than what is tested here."""
  monkeypatch.setattr(datasheet, "draw", lambda sheet, path: None)


@pytest.fixture
def tree(tmp_path):
  """Three groups of two files, each of its own length."""
  for number, name in enumerate(("a/0", "a/1", "b/0", "b/1", "c/0", "c/1")):
    path = tmp_path / "tree" / "corpus" / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).normal(0, 0.1, 30_000 + number)
    soundfile.write(path, noise, 24_000)
  return tmp_path / "tree"


def _zip(tree, path, names=None):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for file in sorted(tree.rglob("*.wav")):
      name = file.relative_to(tree).as_posix()
      if names is None or name.split("/")[1] in names:
        archive.write(file, name)


def _tar(tree, path, names=None):
  mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2"}
  with tarfile.open(path, mode.get(path.suffix, "w")) as archive:
    for folder in sorted((tree / "corpus").iterdir()):
      if names is None or folder.name in names:
        archive.add(folder, f"corpus/{folder.name}")


def _prepare(given, out, *flags):
  return prepare.main(
    [
      "",
      "--dataset=audio_folder",
      f"--input={given}",
      f"--out={out}",
      "--split=100,0,0",
      *flags,
    ]
  )


def _records(out):
  opened = source.open_source(str(out), "train", 24_000)
  return [
    (r["group"], r["source"], r["audio"].tobytes())
    for r in (opened[k] for k in range(len(opened)))
  ]


def _split_zip(tree, folder):
  _zip(tree, folder / "whole")
  data = (folder / "whole").read_bytes()
  (folder / "whole").unlink()
  third = len(data) // 3 + 1
  for part in range(3):
    chunk = data[part * third : (part + 1) * third]
    (folder / f"mp3.zip.{part + 1:03d}").write_bytes(chunk)


@pytest.mark.parametrize(
  "kind", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".zip.001"]
)
def test_an_archive_prepares_as_its_files_do(tree, tmp_path, kind):
  assert _prepare(tree, tmp_path / "plain") == 0
  shipped = tmp_path / "shipped"
  shipped.mkdir()
  archive = shipped / f"x{kind}"
  if kind == ".zip.001":
    _split_zip(tree, shipped)
    archive = shipped / "mp3.zip.001"
  else:
    (_zip if kind == ".zip" else _tar)(tree, archive)
  for number, given in enumerate((archive, shipped)):
    out = tmp_path / f"out{number}"
    assert _prepare(given, out) == 0
    assert _records(out) == _records(tmp_path / "plain")
  left = {"plain", "out0", "out1", "shipped", "tree"}
  assert {path.name for path in tmp_path.iterdir()} == left


def test_several_archives_and_what_lies_beside_them_are_one_folder(
  tree, tmp_path
):
  assert _prepare(tree, tmp_path / "plain") == 0
  shipped = tmp_path / "shipped"
  shipped.mkdir()
  _zip(tree, shipped / "one.zip", "a")
  _tar(tree, shipped / "two.tar.gz", "bc")
  both = f"{shipped / 'one.zip'},{shipped / 'two.tar.gz'}"
  assert _prepare(both, tmp_path / "out") == 0
  assert _records(tmp_path / "out") == _records(tmp_path / "plain")
  (shipped / "table.csv").write_text("of the dataset")
  found = inputs.look(str(shipped), _Tables(tmp_path).corpus)
  assert [path.name for path in found.loose] == ["table.csv"]
  root = archives.unpack(
    found.packed, found.loose, tmp_path, known=(), check=lambda: None
  )
  assert (root / "table.csv").read_text() == "of the dataset"


class _Tables:
  """A dataset that is not found as long as it is packed."""

  def __init__(self, folder):
    self.corpus = corpus.Corpus(
      *("x", "X", "speech", "", "", "", "", 0, 0.0, ""), find=self._find
    )

  def _find(self, root):
    raise errors.InputError("nothing unpacked here")


def test_a_restart_unpacks_only_what_is_missing(
  tree, tmp_path, monkeypatch, capsys
):
  shipped = tmp_path / "shipped"
  shipped.mkdir()
  for name in "abc":
    _tar(tree, shipped / f"{name}.tar", name)
  copied = []
  copy = archives._copy

  def dies(source, root, name, archive, check):
    copied.append(name)
    if archive.name == "b.tar" and name.endswith("1.wav") and len(copied) < 6:
      (root / name).write_bytes(b"half of it")
      raise KeyboardInterrupt
    copy(source, root, name, archive, check)

  monkeypatch.setattr(archives, "_copy", dies)
  assert _prepare(shipped, tmp_path / "out") == 130
  assert "archives are unpacked" in capsys.readouterr().err
  assert len(copied) == 4
  assert _prepare(shipped, tmp_path / "out") == 0
  assert "going on: 1 of 3 archives are unpacked" in capsys.readouterr().err
  assert [name[7] for name in copied[4:]] == ["b", "b", "c", "c"]
  assert _prepare(tree, tmp_path / "plain") == 0
  assert _records(tmp_path / "out") == _records(tmp_path / "plain")


def _add_tar(path, name, **fields):
  member = tarfile.TarInfo(name)
  for field, value in fields.items():
    setattr(member, field, value)
  with tarfile.open(path, "w") as archive:
    archive.addfile(member, io.BytesIO(b"x" * member.size))


def _add_zip(path, name, attributes=0):
  member = zipfile.ZipInfo(name)
  member.external_attr = attributes << 16
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr(member, "x")


@pytest.mark.parametrize(
  ("name", "make"),
  [
    ("x.tar", lambda p: _add_tar(p, "../evil.wav", size=1)),
    ("x.tar", lambda p: _add_tar(p, "a/../../evil.wav", size=1)),
    ("x.tar", lambda p: _add_tar(p, "/tmp/evil.wav", size=1)),
    (
      "x.tar",
      lambda p: _add_tar(p, "a", type=tarfile.SYMTYPE, linkname="/etc"),
    ),
    ("x.tar", lambda p: _add_tar(p, "a", type=tarfile.LNKTYPE, linkname="b")),
    ("x.tar", lambda p: _add_tar(p, "a", type=tarfile.FIFOTYPE)),
    ("x.zip", lambda p: _add_zip(p, "../evil.wav")),
    ("x.zip", lambda p: _add_zip(p, "/tmp/evil.wav")),
    ("x.zip", lambda p: _add_zip(p, "a\\..\\..\\evil.wav")),
    ("x.zip", lambda p: _add_zip(p, "a", stat.S_IFLNK | 0o777)),
  ],
)
def test_hostile_archives_are_refused_and_write_nothing(tmp_path, name, make):
  make(tmp_path / name)
  with pytest.raises(errors.InputError, match=r"x\.\w+ is refused"):
    _prepare(tmp_path / name, tmp_path / "deep" / "out")
  left = [p for p in tmp_path.rglob("*") if p.is_file()]
  assert left == [tmp_path / name]


@pytest.mark.parametrize("kind", [".zip", ".tar.gz", ".tar.bz2", ".tar"])
@pytest.mark.parametrize("damage", ["cut", "changed", "other"])
def test_a_damaged_archive_is_one_line(tree, tmp_path, kind, damage):
  path = tmp_path / f"x{kind}"
  (_zip if kind == ".zip" else _tar)(tree, path)
  data = bytearray(path.read_bytes())
  if damage == "cut":
    data = data[: len(data) // 2]
  elif damage == "changed":
    data[len(data) // 2] ^= 0xFF
  else:
    data = b"<html>not found</html>"
  path.write_bytes(data)
  if kind == ".tar" and damage == "changed":
    return  # has no checksum of what is in it
  with pytest.raises(errors.InputError, match="cannot be unpacked") as caught:
    _prepare(path, tmp_path / "out")
  assert "\n" not in str(caught.value)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["tree", path.name]


def test_the_md5_of_the_site_is_checked(tree, tmp_path):
  path = tmp_path / "x.tar"
  _tar(tree, path)
  md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()

  def run(folder, md5):
    (tmp_path / folder).mkdir()
    return archives.unpack(
      archives.find([path]),
      (),
      tmp_path / folder,
      known=[corpus.Archive("x.tar", md5)],
      check=lambda: None,
    )

  assert (run("good", md5) / "corpus/a/0.wav").exists()
  with pytest.raises(errors.InputError, match=rf"md5 {md5}, and its site says"):
    run("bad", "0" * 32)


def test_too_little_space_is_one_line_beforehand(tree, tmp_path, monkeypatch):
  _zip(tree, tmp_path / "x.zip")
  usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
  monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
  with pytest.raises(errors.InputError, match=r"about 0\.0 GB beside --out"):
    _prepare(tmp_path / "x.zip", tmp_path / "out")
  assert sorted(os.listdir(tmp_path)) == ["tree", "x.zip"]


def test_a_missing_part_is_named(tree, tmp_path):
  _split_zip(tree, tmp_path)
  (tmp_path / "mp3.zip.002").unlink()
  with pytest.raises(errors.InputError, match=r"mp3\.zip\.002 is missing"):
    _prepare(tmp_path / "mp3.zip.001", tmp_path / "out")


def test_archives_beside_their_files_are_left_alone(tree, tmp_path, capsys):
  _zip(tree, tree / "x.zip")
  assert _prepare(tree, tmp_path / "out") == 0
  assert "1 archives in --input are left alone" in capsys.readouterr().err


def test_joined_files_read_as_one(tmp_path):
  data = bytes(range(256)) * 3
  cuts = (0, 1, 1, 300, 768)
  paths = []
  for number, (start, end) in enumerate(itertools.pairwise(cuts)):
    paths.append(pathlib.Path(tmp_path, str(number)))
    paths[-1].write_bytes(data[start:end])
  with split_file.open_all(paths) as file:
    assert file.read() == data
    for at in (0, 1, 299, 700, 900):
      file.seek(at)
      assert file.read(80) == data[at : at + 80]
    file.seek(-5, os.SEEK_END)
    assert (file.tell(), file.read()) == (763, data[-5:])
