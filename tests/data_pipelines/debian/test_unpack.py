"""A Debian package and the game archives in it become folders of audio."""

import io as streams
import pathlib
import shutil
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.data_pipelines.debian import unpack


def wav(num_samples=240):
  """The bytes of a wav file."""
  stream = streams.BytesIO()
  audio = np.linspace(-0.5, 0.5, num_samples)
  soundfile.write(stream, audio, 24_000, format="WAV")
  return stream.getvalue()


def cat(sounds):
  """The bytes of a .cat of [(title, wav)], with file names between, as the
  real one has them."""
  table, body = b"", b""
  for title, sound in sounds:
    at = 8 * len(sounds) + len(body)
    table += struct.pack("<II", at | 1 << 31, len(sound))
    title = title.encode() + b"\0"
    body += bytes([len(title)]) + title + sound + b"\0\x04x.w\0"
  return table + body


def zipped(files):
  stream = streams.BytesIO()
  with zipfile.ZipFile(stream, "w") as opened:
    for name, data in files.items():
      opened.writestr(name, data)
  return stream.getvalue()


def tarred(files):
  """The bytes of a tar; a value of None makes a link to /etc/passwd."""
  stream = streams.BytesIO()
  with tarfile.open(fileobj=stream, mode="w") as opened:
    for name, data in files.items():
      member = tarfile.TarInfo(name)
      if data is None:
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
      member.size = len(data or b"")
      opened.addfile(member, streams.BytesIO(data or b""))
  return stream.getvalue()


@pytest.fixture
def deb(tmp_path, monkeypatch):
  """Returns a function files -> a package, for a dpkg-deb that is replaced by
  one whose packages are tar files."""
  tool = tmp_path / "bin/dpkg-deb"
  tool.parent.mkdir()
  tool.write_text('#!/bin/sh\ncat "$2"\n')
  tool.chmod(0o755)
  monkeypatch.setenv("PATH", str(tool.parent), prepend=":")

  def make(files):
    path = tmp_path / "x_1.0_all.deb"
    path.write_bytes(tarred(files))
    return path

  return make


def _names(folder: pathlib.Path):
  return sorted(
    path.relative_to(folder).as_posix()
    for path in folder.rglob("*")
    if not path.is_dir()
  )


def test_audio_and_documents_are_kept_under_their_paths(deb, tmp_path):
  package = deb(
    {
      "./usr/share/doc/x/copyright": b"free",
      "./usr/share/doc/x/changelog.gz": b"1.0",
      "./usr/share/doc/y/copyright": b"another's",
      "./usr/share/x/a b/\u00e9.OGG": b"ogg",
      "./usr/share/x/picture.png": b"png",
      "./usr/share/x/link.ogg": None,
    }
  )
  unpack.unpack(package, "x", tmp_path / "tree")
  assert _names(tmp_path / "tree") == [
    "usr/share/doc/x/copyright",
    "usr/share/x/a b/\u00e9.OGG",
  ]
  copyright_file = tmp_path / "tree/usr/share/doc/x/copyright"
  assert copyright_file.read_bytes() == b"free"


def test_game_archives_become_folders_of_their_names(deb, tmp_path):
  package = deb(
    {
      "./games/0snd.pk3": zipped({"sound/a.ogg": b"ogg", "map.bsp": b""}),
      "./games/sfx.cat": cat([("Wind", wav())]),
    }
  )
  unpack.unpack(package, "x", tmp_path / "tree")
  assert _names(tmp_path / "tree") == [
    "games/0snd/sound/a.ogg",
    "games/sfx/000.wav",
    "games/sfx/titles.txt",
  ]


@pytest.mark.parametrize(
  "name", ["../x.ogg", "/x.ogg", "a/../../x.ogg", "..\\x.ogg", "./x.ogg"]
)
def test_a_hostile_name_in_a_pk3_is_refused(tmp_path, name):
  path = tmp_path / "games/0snd.pk3"
  path.parent.mkdir()
  path.write_bytes(zipped({name: b"ogg"}))
  with pytest.raises(errors.InputError, match=r"0snd\.pk3 is refused") as e:
    unpack.unzip(path, tmp_path / "games/0snd")
  assert "\n" not in str(e.value)
  assert _names(tmp_path) == ["games/0snd.pk3"]


@pytest.mark.parametrize("name", ["./../x.ogg", "./a/../../x.ogg", "/x.ogg"])
def test_a_hostile_name_in_a_package_is_refused(deb, tmp_path, name):
  package = deb({name: b"ogg"})
  with pytest.raises(errors.InputError, match="x is refused"):
    unpack.unpack(package, "x", tmp_path / "tree")
  assert "x.ogg" not in {pathlib.Path(n).name for n in _names(tmp_path)}


def test_a_folder_in_the_place_of_a_file_is_refused(deb, tmp_path):
  package = deb({"./a.ogg/b.ogg": b"ogg", "./a.ogg": b"ogg"})
  with pytest.raises(errors.InputError, match="x is refused"):
    unpack.unpack(package, "x", tmp_path / "tree")


def test_a_damaged_package_is_one_line(deb, tmp_path):
  package = deb({"./a.ogg": bytes(100_000)})
  package.write_bytes(package.read_bytes()[:50_000])
  with pytest.raises(errors.InputError, match="cannot be unpacked") as e:
    unpack.unpack(package, "x", tmp_path / "tree")
  assert "\n" not in str(e.value)


def test_what_dpkg_deb_complains_of_is_told(deb, tmp_path):
  package = deb({})
  tool = pathlib.Path(shutil.which("dpkg-deb"))
  tool.write_text("#!/bin/sh\necho 'not a Debian archive' >&2; exit 2\n")
  with pytest.raises(errors.InputError, match="not a Debian archive"):
    unpack.unpack(package, "x", tmp_path / "tree")


def test_a_cat_gives_its_sounds_and_titles_under_their_numbers(tmp_path):
  silent = wav(0)
  sounds = [("Wind, CC0", wav()), ("Unused", silent), ("Horn", wav(480))]
  path = tmp_path / "sfx.cat"
  path.write_bytes(cat(sounds))
  unpack.split_cat(path, tmp_path / "sfx")
  assert _names(tmp_path / "sfx") == ["000.wav", "002.wav", "titles.txt"]
  for number in (0, 2):
    written = tmp_path / f"sfx/{number:03d}.wav"
    assert written.read_bytes() == sounds[number][1]
    assert soundfile.info(written).samplerate == 24_000
  titles = (tmp_path / "sfx/titles.txt").read_text()
  assert titles == "000 Wind, CC0\n002 Horn\n"


@pytest.mark.parametrize(
  "data",
  [
    b"",
    b"\x08\0\0",
    cat([("Wind", wav())])[:-200],
    cat([("Wind", b"OggS" + wav())]),
    struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF),
  ],
  ids=["empty", "no table", "cut", "no wav", "lengths of nothing"],
)
def test_a_damaged_cat_is_one_line(tmp_path, data):
  path = tmp_path / "sfx.cat"
  path.write_bytes(data)
  with pytest.raises(errors.InputError, match=r"sfx\.cat cannot be") as e:
    unpack.split_cat(path, tmp_path / "sfx")
  assert "\n" not in str(e.value)


def test_a_file_that_is_no_zip_is_one_line(tmp_path):
  path = tmp_path / "0snd.pk3"
  path.write_bytes(b"PK")
  with pytest.raises(errors.InputError, match=r"0snd\.pk3 cannot be unpacked"):
    unpack.unzip(path, tmp_path / "0snd")
