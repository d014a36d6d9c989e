"""Laws that hold for every dataset: facts, folders, groups and splits."""

import dataclasses
import pkgutil

import pytest

from soundstream_jax import errors
from soundstream_jax.audio import reading
from soundstream_jax.data_pipelines import catalog, corpora, corpus
from soundstream_jax.data_pipelines.preparation import records

# Name -> its descriptions, one for each kind, of those that no flag shapes.
DESCRIBED = {
  name: catalog.load_all(name, None, {})
  for name in catalog.names()
  if not catalog.flags_of(name)
}
# Those that a site ships in archives.
DATASETS = [name for name, found in DESCRIBED.items() if found[0].archives]


def _first(name):
  """The dataset, or the first of its kinds."""
  return DESCRIBED[name][0]


def test_every_module_is_a_dataset_and_every_tree_of_the_tests_is_of_one(trees):
  modules = {module.name for module in pkgutil.iter_modules(corpora.__path__)}
  assert set(catalog.names()) == modules
  assert set(DATASETS) == set(trees)


@pytest.mark.parametrize(
  ("name", "described"),
  [(name, one) for name, found in DESCRIBED.items() for one in found],
  ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_every_field_of_a_description_is_filled(name, described):
  assert described.name == name
  assert described.kind in corpus.KINDS
  assert catalog.load(name, described.kind, {}) is described
  for field in dataclasses.fields(corpus.Corpus):
    if field.type is str:
      assert getattr(described, field.name).strip(), field.name
  assert described.homepage.startswith("https://")
  if name in DATASETS:
    assert described.sample_rate_hz >= 16_000
    assert described.hours > 0 or described.kind == "rooms"
    assert described.archives
  for archive in described.archives:
    assert archive.md5 == "" or len(bytes.fromhex(archive.md5)) == 16
  assert len({a.name for a in described.archives}) == len(described.archives)
  assert all(number > 0 for number in described.expected.values())


@pytest.mark.parametrize("dataset", DATASETS)
def test_all_audio_of_the_dataset_and_nothing_else_is_found(
  plant, trees, dataset
):
  folder = plant(dataset)
  files = _first(dataset).find(folder)
  assert [file.name for file in files] == trees[dataset][1]
  for file in files:
    assert file.path == folder / file.name
    assert file.size_bytes == file.path.stat().st_size
    assert reading.read_mono(file.path, sample_rate_hz=16_000).size >= 1_600


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_macos_and_tools_hide_beside_the_audio_is_passed_over(
  plant, dataset
):
  folder = plant(dataset)
  files = _first(dataset).find(folder)
  for file in files:
    place = file.path.parent
    (place / f"._{file.path.name}").write_bytes(b"\0")
    (place / ".hidden").mkdir(exist_ok=True)
    (place / ".hidden" / "x.wav").write_bytes(b"\0")
  assert _first(dataset).find(folder) == files


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_folder_above_gives_the_same_files(plant, dataset):
  folder = plant(dataset)
  described = _first(dataset)
  assert described.find(folder.parent) == described.find(folder)


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_group_is_in_two_splits(plant, dataset):
  splits = {}
  for file in _first(dataset).find(plant(dataset)):
    assert file.group
    assert file.split in ("", *records.SPLITS)
    splits.setdefault(file.group, set()).add(file.split)
  assert all(len(found) == 1 for found in splits.values())
  assert len(splits) > 1


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_file_is_of_a_part_whose_size_is_known(plant, dataset):
  described = _first(dataset)
  parts = {described.part_of(f.name) for f in described.find(plant(dataset))}
  # How many clips of FSD50K are without voices, nobody publishes.
  assert parts <= set(described.expected) or dataset == "fsd50k"


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_partial_download_gives_the_same_groups_and_splits(
  plant, trees, dataset
):
  described = _first(dataset)
  first = trees[dataset][1][0]
  (alone,) = described.find(plant(dataset, [first]))
  whole = {file.name: file for file in described.find(plant(dataset))}
  assert alone == whole[first]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_wrong_folder_is_one_line_of_what_was_looked_for_and_found(
  tmp_path, dataset
):
  described = _first(dataset)
  for name in ("holidays", "birthdays"):
    (tmp_path / "photos" / name).mkdir(parents=True)
  with pytest.raises(errors.InputError) as raised:
    described.find(tmp_path / "photos")
  message = str(raised.value)
  assert "\n" not in message
  assert f"--input={tmp_path / 'photos'} is not " in message
  assert "looked for a folder " in message
  assert "found birthdays, holidays." in message
  parts = [key for key in described.expected if key != "mp3"]
  assert not parts or parts[0] in message


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_folder_and_a_file_are_told_apart(tmp_path, dataset):
  find = _first(dataset).find
  with pytest.raises(errors.InputError, match="gone does not exist"):
    find(tmp_path / "gone")
  (tmp_path / "archive.zip").write_bytes(b"PK")
  with pytest.raises(errors.InputError, match=r"archive\.zip is a file"):
    find(tmp_path / "archive.zip")


@pytest.mark.parametrize("dataset", DATASETS)
def test_parts_without_audio_say_what_is_in_them(plant, trees, dataset):
  first = trees[dataset][1][0]
  folder = plant(dataset, [first])
  (folder / first).rename((folder / first).with_suffix(".txt"))
  with pytest.raises(errors.InputError, match=r"has no audio .* 1 \.txt"):
    _first(dataset).find(folder)
