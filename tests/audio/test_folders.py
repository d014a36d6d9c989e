"""Laws of the one walk of folders."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import folders, formats


def _touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b"x")


def _names(root):
  return [p.relative_to(root).as_posix() for p in folders.walk(root).files]


@pytest.mark.usefixtures("without_ffmpeg")
def test_all_that_libsndfile_reads_is_taken_in_any_case(tmp_path):
  kinds = sorted(formats.of_libsndfile())
  assert {".wav", ".aiff", ".caf", ".oga", ".au", ".w64", ".mp3"} < set(kinds)
  assert ".raw" not in kinds
  for k, suffix in enumerate(kinds):
    _touch(tmp_path / f"{k:02d}{suffix.upper() if k % 2 else suffix}")
  walked = folders.walk(tmp_path)
  assert len(walked.files) == len(kinds)
  assert walked.left_out == ""


def test_a_suffix_is_of_a_format_that_the_library_has():
  # A name that the table misspells would be a format that is silently lost.
  assert set(formats._USUAL) <= set(soundfile.available_formats())
  for suffix in formats.of_libsndfile():
    assert suffix == suffix.lower() and suffix[0] == "."


@pytest.mark.usefixtures("without_ffmpeg")
def test_what_cannot_be_read_here_is_counted(tmp_path):
  for name in ("a.m4a", "b.M4A", "c/d.mkv", "e.wav", "f.txt", "noise"):
    _touch(tmp_path / name)
  (tmp_path / "gone").symlink_to(tmp_path / "nothing")
  os.mkfifo(tmp_path / "pipe.wav")
  walked = folders.walk(tmp_path)
  assert [path.name for path in walked.files] == ["e.wav"]
  assert walked.left_out == (
    "2 .m4a, 1 .mkv, 1 broken link, 1 pipe or device; install ffmpeg for "
    "these formats"
  )
  assert walked.others == {".txt": 1, "no suffix": 1}


@pytest.mark.usefixtures("with_ffmpeg")
def test_where_ffmpeg_is_there_its_files_are_taken(tmp_path):
  for name in ("a.m4a", "b.MKV", "c.ts", "list.m3u8"):
    _touch(tmp_path / name)
  walked = folders.walk(tmp_path)
  assert [path.name for path in walked.files] == ["a.m4a", "b.MKV"]
  assert walked.left_out == ""


def test_hidden_names_are_passed_over_and_the_order_is_that_of_names(tmp_path):
  for name in ("b.wav", "a/z.wav", ".h.wav", ".h/a.wav", "a.wav", "a/._z.wav"):
    _touch(tmp_path / name)
  assert _names(tmp_path) == ["a.wav", "a/z.wav", "b.wav"]


def test_links_are_followed_and_each_real_folder_is_entered_once(tmp_path):
  _touch(tmp_path / "elsewhere" / "a.wav")
  _touch(tmp_path / "in" / "own" / "b.wav")
  (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "in" / "link2").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "in")
  (tmp_path / "in" / "c.wav").symlink_to(tmp_path / "elsewhere" / "a.wav")
  assert _names(tmp_path / "in") == ["c.wav", "link/a.wav", "own/b.wav"]
  assert folders.walk(tmp_path / "in").left_out == ""


def test_a_root_that_is_none_is_an_error(tmp_path):
  _touch(tmp_path / "a.wav")
  for root in ("nothing", "a.wav"):
    with pytest.raises(errors.InputError, match="the folder cannot be read"):
      folders.walk(tmp_path / root)


# Root may read everything, so somebody else has to look.
WALK = """
import os, sys
from soundstream_jax import errors
from soundstream_jax.audio import folders
if os.getuid() == 0:
  os.setgroups([])
  os.setgid(65534)
  os.setuid(65534)
walked = folders.walk(sys.argv[1])
print([path.name for path in walked.files], walked.left_out, sep="|")
try:
  folders.walk(sys.argv[1] + "/closed")
except errors.InputError as error:
  print(error)
"""


def test_closed_folders_and_files_are_left_out_and_counted(tmp_path):
  root = tmp_path / "in"
  for name in ("a.wav", "closed/b.wav", "also/c.wav", "secret.wav"):
    _touch(root / name)
  modes = {"closed": 0, "also": 0, "secret.wav": 0, ".": 0o755}
  for name, mode in modes.items():
    (root / name).chmod(mode)
  for parent in root.parents:
    if parent.is_relative_to("/tmp") and parent.stat().st_uid == os.getuid():
      parent.chmod(parent.stat().st_mode | 0o755)
  done = subprocess.run(
    [sys.executable, "-c", WALK, str(root)],
    env={**os.environ, "PATH": ""},
    capture_output=True,
    text=True,
    check=True,
  )
  first, second = done.stdout.splitlines()
  assert first == (
    "['a.wav']|1 file that may not be read, 2 folders that may not be read"
  )
  assert second == (
    f"{root}/closed: the folder cannot be read (Permission denied). Change its "
    "permissions, or use another folder."
  )


def test_a_walk_takes_what_reading_can_read(tmp_path):
  soundfile.write(tmp_path / "a.aifc", np.zeros(9), 8_000, format="AIFF")
  (path,) = folders.walk(tmp_path).files
  assert folders.is_audio(path)
  assert soundfile.info(path).frames == 9
