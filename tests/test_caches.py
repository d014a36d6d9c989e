"""Laws of caches: tried at start, one line where there is none, never needed."""

import pathlib

import pytest

from soundstream_jax import caches


@pytest.fixture
def warnings(monkeypatch):
  """The lines that were logged."""
  lines = []
  monkeypatch.setattr(
    caches.logging, "warning", lambda text, *words: lines.append(text % words)
  )
  return lines


@pytest.fixture
def home(tmp_path, monkeypatch):
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  (tmp_path / "home").mkdir()
  return tmp_path / "home"


def test_a_cache_is_in_the_home_and_empty(home, warnings):
  folder = caches.folder("xla")
  assert folder == home / ".cache/soundstream_jax/xla"
  assert list(folder.iterdir()) == []
  assert caches.folder("xla") == folder
  assert warnings == []


def test_a_cache_is_where_the_user_says(home, tmp_path, monkeypatch, warnings):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  assert caches.folder("xla") == tmp_path / "xdg/soundstream_jax/xla"
  named = caches.folder("xla", str(tmp_path / "named"))
  assert named == tmp_path / "named" and named.is_dir()
  assert caches.folder("xla", "") is None
  assert list(home.iterdir()) == warnings == []


@pytest.mark.parametrize("named", ["relative", ""])
def test_a_folder_of_caches_that_is_not_absolute_counts_as_none(
  named, home, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("XDG_CACHE_HOME", named)
  assert caches.folder("xla") == home / ".cache/soundstream_jax/xla"
  assert not (tmp_path / "relative").exists()


@pytest.mark.parametrize("missing", ["/proc/none", "~", ""])
def test_without_a_home_there_is_one_line_and_no_cache(
  home, missing, tmp_path, monkeypatch, warnings
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", missing)
  # A container may run as a number that has no name.
  monkeypatch.setattr(caches.paths.pwd, "getpwuid", {}.__getitem__)
  assert caches.folder("xla") is None
  assert warnings == [
    "no cache 'xla': this user has no home. Set XDG_CACHE_HOME to a folder's "
    "whole path to have one."
  ]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize("where", ["auto", "named"])
def test_a_folder_that_cannot_be_written_is_one_line(
  home, where, tmp_path, warnings
):
  # For any user: what should be a folder is a file.
  file = home / ".cache" if where == "auto" else tmp_path / "named"
  file.write_text("mine")
  path = where if where == "auto" else str(file / "xla")
  assert caches.folder("xla", path) is None
  (line,) = warnings
  assert line.startswith(f"no cache 'xla': {file}")
  assert line.endswith("(Not a directory). Name another folder to have one.")
  assert file.read_text() == "mine"


def test_a_full_disk_is_one_line_and_leaves_nothing(
  home, monkeypatch, warnings
):
  class Full:
    def __init__(self, dir):
      self.dir = pathlib.Path(dir)

    def __enter__(self):
      assert self.dir.is_dir()
      return self

    def __exit__(self, *_):
      pass

    def write(self, data):
      raise OSError(28, "No space left on device")

  monkeypatch.setattr(caches.tempfile, "TemporaryFile", Full)
  assert caches.folder("xla") is None
  assert "No space left on device" in warnings[0]
