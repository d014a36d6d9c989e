"""Laws of lists of folders: every name can be written, and is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.data import dataset_folder
from soundstream_jax.settings import constraints, lists

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)
CLEAN = NAMES.filter(lambda name: not name.endswith("\\"))


@given(st.lists(CLEAN.filter(lambda name: "\\," not in name), min_size=1))
def test_every_name_comes_back_from_a_list(names):
  assert lists.split(lists.join(names)) == names


@given(CLEAN.filter(lambda name: "\\," not in name))
def test_every_folder_can_be_a_source(name):
  assert constraints.parse_sources(constraints.as_source(name)) == [(name, 1)]


def test_commas_and_colons_are_what_the_docstring_says():
  text = r"a\,b:0.5,take:2:1, c ,,d/1:2/e"
  assert constraints.parse_sources(text) == [
    ("a,b", 0.5),
    ("take:2", 1),
    ("c", 1),
    ("d/1:2/e", 1),
  ]
  with pytest.raises(errors.InputError, match="of this name is a:b:1"):
    constraints.parse_sources("a:b")


@pytest.mark.parametrize("name", ["speech,new", "speech:2"])
def test_a_name_that_was_taken_apart_is_recognised(name, tmp_path):
  (tmp_path / name).mkdir()
  with pytest.raises(errors.InputError) as refused:
    dataset_folder.find(str(tmp_path / "speech"), "data.sources")
  assert f"does not exist; {tmp_path / name} does." in str(refused.value)
  assert "Write a comma in a name as \\," in str(refused.value)


def test_a_relative_name_says_where_it_was_looked_for(tmp_path, monkeypatch):
  (tmp_path / "below/there").mkdir(parents=True)
  (tmp_path / "data/speech").mkdir(parents=True)
  monkeypatch.chdir(tmp_path / "below/there")
  with pytest.raises(errors.InputError) as refused:
    dataset_folder.find("data/speech", "data.sources")
  assert (
    f"data/speech does not exist in {tmp_path / 'below/there'}, but it does in "
    f"{tmp_path}: run the command there, or write {tmp_path / 'data/speech'}."
  ) in str(refused.value)
  with pytest.raises(errors.InputError) as refused:
    dataset_folder.find("data/music", "data.sources")
  assert f"not exist in {tmp_path / 'below/there'}, where" in str(refused.value)
