"""Finding a dataset's folder, walking it, reading a table in it."""

import os

import pytest

from soundstream_jax import errors
from soundstream_jax.audio import folders
from soundstream_jax.data_pipelines import layout


def _touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b"x")


def test_a_part_given_instead_of_the_dataset_names_the_folder_above(tmp_path):
  _touch(tmp_path / "Set" / "part" / "103" / "a.wav")
  with pytest.raises(errors.InputError) as raised:
    layout.locate(
      tmp_path / "Set" / "part", title="Set", own_names=["Set"], parts=["part"]
    )
  assert f"--input={tmp_path / 'Set'}." in str(raised.value)


def test_a_long_list_of_parts_or_of_contents_is_cut(tmp_path):
  for k in range(9):
    _touch(tmp_path / f"f{k}")
  with pytest.raises(errors.InputError) as raised:
    layout.locate(
      tmp_path, title="Set", own_names=[], parts=[f"p{k}" for k in range(8)]
    )
  message = str(raised.value)
  assert "p0, p1, p2, p3, p4, p5 and 2 more in it;" in message
  assert "found f0, f1, f2, f3, f4, f5 and 3 more." in message


def test_links_are_followed_once_although_they_loop(tmp_path):
  _touch(tmp_path / "elsewhere" / "b.wav")
  _touch(tmp_path / "set" / "part" / "a.wav")
  (tmp_path / "set" / "part" / "more").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set" / "part")
  (tmp_path / "set" / "part" / "gone.wav").symlink_to(tmp_path / "nothing")
  found = [
    path.relative_to(tmp_path / "set").as_posix()
    for path in folders.walk(tmp_path / "set", parts=["part", "missing"]).files
  ]
  assert sorted(found) == ["part/a.wav", "part/more/b.wav"]


def test_files_come_in_the_order_of_their_names_not_of_their_parts(tmp_path):
  for name in ("b/2.wav", "a/9.WAV", "b/10.wav", "a/x.txt"):
    _touch(tmp_path / name)
  files = layout.read(
    tmp_path,
    title="Set",
    parts=["b", "a"],
    describe=lambda name: (name[0], ""),
  )
  assert [file.name for file in files] == ["a/9.WAV", "b/10.wav", "b/2.wav"]


def test_a_name_that_is_not_utf8_is_told_with_replacements(tmp_path):
  (tmp_path / "p").mkdir()
  with open(os.fsencode(tmp_path / "p") + b"/caf\xe9.wav", "wb") as file:
    file.write(b"x")
  (found,) = layout.read(
    tmp_path, title="Set", parts=["p"], describe=lambda name: ("g", "train")
  )
  assert found.name == "p/caf�.wav"
  assert found.path.read_bytes() == b"x"


@pytest.mark.parametrize(
  ("content", "problem"),
  [
    (None, "No such file"),
    (b"", "no column a, b"),
    (b"a,c\n1,2\n", "no column b"),
    (b"a,b\n1\n", "rows cut short"),
    (b"a,b\n\xff,2\n", "can't decode"),
  ],
)
def test_a_damaged_table_is_one_line_with_its_path(tmp_path, content, problem):
  path = tmp_path / "dev.csv"
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(errors.InputError) as raised:
    layout.table(path, ["a", "b"])
  assert str(raised.value).startswith(f"{path}: cannot be used (")
  assert problem in str(raised.value)
  assert "\n" not in str(raised.value)
