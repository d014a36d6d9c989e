"""Laws of sharing out files: groups whole, nothing lost, always the same."""

import collections
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.preparation import plan

SETTINGS = {"dataset": "x", "kind": "speech", "split": "60,20,20"}


def _files(groups, split="train"):
  """{group: [size, ...]} as files."""
  return [
    corpus.File(
      pathlib.Path("/in", group, str(k)), f"{group}/{k}", group, size, split
    )
    for group, sizes in groups.items()
    for k, size in enumerate(sizes)
  ]


GROUPS = st.dictionaries(
  st.text("abcdef", min_size=1, max_size=3),
  st.lists(st.integers(0, 30 << 20), min_size=1, max_size=8),
  min_size=1,
  max_size=20,
)


@given(GROUPS, st.randoms())
@settings(max_examples=100, deadline=None)
def test_every_file_is_in_one_shard_whatever_their_order(groups, shuffler):
  files = _files(groups)
  made = plan.make(files, SETTINGS)
  shuffler.shuffle(files)
  assert plan.make(files, SETTINGS) == made
  found = [file for shard in made.shards for file in shard.files]
  assert found == sorted(found, key=lambda f: (f.group, f.name))
  assert collections.Counter(found) == collections.Counter(files)


@given(GROUPS)
@settings(max_examples=100, deadline=None)
def test_a_group_is_spread_only_if_it_is_larger_than_a_shard(groups):
  made = plan.make(_files(groups), SETTINGS)
  limit = plan.shard_bytes(made.size_bytes)
  for shard in made.shards:
    assert shard.size_bytes <= limit or len(shard.files) == 1
  for group, sizes in groups.items():
    shards = [s for s in made.shards if any(f.group == group for f in s.files)]
    assert len(shards) == 1 or sum(sizes) > limit


def test_shards_are_many_enough_and_not_too_many():
  mega = 1 << 20
  assert plan.shard_bytes(mega) == 8 * mega
  assert plan.shard_bytes(1_024 * mega) == 32 * mega
  assert plan.shard_bytes(10_000 * mega) == 64 * mega
  assert plan.shard_bytes(1_000_000 * mega) == 1_000 * mega


def test_the_datasets_own_split_counts_and_else_the_groups_name():
  names = [f"g{k}" for k in range(100)]
  own = [
    *_files({name: [1] for name in names}, "test"),
    *_files({"t": [1]}),
  ]
  made = plan.make(own, SETTINGS)
  assert [s.split for s in made.shards] == ["train", "test"]
  made = plan.make(_files({name: [1] for name in names}, ""), SETTINGS)
  counts = {s.split: len(s.files) for s in made.shards}
  assert list(counts) == ["train", "validation", "test"]
  assert 40 < counts["train"] < 80


def test_a_plan_is_read_as_it_was_written_also_with_odd_names(tmp_path):
  files = _files({"\udcff": [1, 2], "ä b": [3]})
  made = plan.make(files, SETTINGS)
  plan.save(tmp_path, made)
  assert plan.load(tmp_path) == made
  (tmp_path / "plan.json").write_text("{")
  assert plan.load(tmp_path) is None


def test_what_makes_two_plans_different_is_named():
  groups = {"a": [1, 2], "b": [3]}
  made = plan.make(_files(groups), SETTINGS)

  def told(groups=groups, **changed):
    other = plan.make(_files(groups), SETTINGS | changed)
    return plan.difference(made, other)

  assert told() == ""
  assert "--kind=speech, and this command has --kind=music" in told(
    kind="music"
  )
  for changed, name in {
    "b/0": {"a": [1, 2], "b": [4]},
    "b/1": {"a": [1, 2], "b": [3, 1]},
    "a/1": {"a": [1], "b": [3]},
  }.items():
    assert "1 input file(s) differ" in told(name)
    assert repr(changed) in told(name)


def test_nothing_to_train_on_is_an_input_error():
  with pytest.raises(errors.InputError, match="1 group of x, and none falls"):
    plan.make(_files({"a": [1]}, "test"), SETTINGS)
