"""Laws of joining, cutting and splitting."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.data import source
from soundstream_jax.data_pipelines.preparation import records

RATE_HZ = 1_000  # a record is 10 000 samples, a fade 5
LEVEL = 1_000


def _cut(pieces):
  tally = records.Tally()
  found = list(records.cut(pieces, sample_rate_hz=RATE_HZ, tally=tally))
  return found, tally


def _pieces(lengths_by_group):
  return [
    records.Piece(
      group, f"{group}/{k}", np.full(length, LEVEL + k).astype(np.int16)
    )
    for group, lengths in lengths_by_group.items()
    for k, length in enumerate(lengths)
  ]


@given(
  st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.lists(st.integers(1, 25_000), min_size=1, max_size=6),
    min_size=1,
    max_size=4,
  )
)
@settings(max_examples=60, deadline=None)
def test_every_sample_is_in_one_record_or_counted_as_dropped(lengths):
  found, tally = _cut(_pieces(lengths))
  kept = collections.Counter()
  for record in found:
    kept[record.group] += len(record.audio)
    assert 1_000 <= len(record.audio) <= 10_000
  for group, members in lengths.items():
    missing = sum(members) - kept[group]
    assert 0 <= missing < 1_000
  assert tally.samples == sum(kept.values())
  assert tally.records == len(found)
  assert tally.dropped_samples + tally.samples == sum(
    map(sum, lengths.values())
  )
  assert tally.groups == {record.group for record in found}


@given(st.lists(st.integers(1, 25_000), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_order_is_kept_and_audio_is_untouched_except_within_5_ms_of_a_join(
  lengths,
):
  found, _ = _cut(_pieces({"a": lengths}))
  plain = np.concatenate([p.audio for p in _pieces({"a": lengths})])
  out = np.concatenate([r.audio for r in found] or [plain[:0]])
  changed = np.flatnonzero(out != plain[: len(out)])
  joins = np.cumsum(lengths)[:-1]
  assert all(np.abs(joins - at - 0.5).min() < 6 for at in changed)
  assert (np.abs(out) <= np.abs(plain[: len(out)])).all()


def test_a_join_falls_to_silence_on_both_sides():
  (record,), _ = _cut(_pieces({"a": [3_000, 3_000]}))
  np.testing.assert_array_equal(
    record.audio[2_995:3_005],
    [800, 600, 400, 200, 0, 0, 200, 400, 601, 801],
  )
  assert record.audio[0] == LEVEL


def test_a_long_file_alone_is_cut_without_fades():
  found, _ = _cut(_pieces({"a": [35_000]}))
  assert [len(record.audio) for record in found] == [10_000] * 3 + [5_000]
  assert all((record.audio == LEVEL).all() for record in found)


def test_the_source_of_a_record_is_the_file_it_starts_in():
  found, _ = _cut(_pieces({"a": [4_000, 4_000, 14_000, 1_500], "b": [2_000]}))
  starts = [record.source for record in found]
  assert starts == ["a/0", "a/2", "a/2", "b/0"]


def test_the_split_of_a_group_is_fixed_for_ever():
  splits = {
    group: records.split_of(group, (90, 5, 5))
    for group in ("speaker0", "speaker9", "speaker10", "speaker12", "ä", ".")
  }
  assert splits == {
    "speaker0": "train",
    "speaker9": "test",
    "speaker10": "validation",
    "speaker12": "validation",
    "ä": "train",
    ".": "train",
  }


@pytest.mark.parametrize("percentages", [(90, 5, 5), (100, 0, 0), (50, 25, 25)])
def test_groups_fall_into_splits_by_their_percentages(percentages):
  counts = collections.Counter(
    records.split_of(str(k), percentages) for k in range(10_000)
  )
  for split, percentage in zip(records.SPLITS, percentages, strict=True):
    assert abs(counts[split] / 100 - percentage) < 1.5
    assert percentage or not counts[split]


@pytest.mark.parametrize(
  "text", ["", "90", "90,10", "80,10,5", "-10,60,50", "a,b,c", "90,5,5,0"]
)
def test_percentages_that_do_not_add_up_are_an_input_error(text):
  with pytest.raises(errors.InputError, match="add up to 100"):
    records.parse_split(text)
  with pytest.raises(errors.InputError, match="nothing to train on"):
    records.parse_split("0,50,50")


def test_a_stream_becomes_a_dataset_in_its_order(tmp_path):
  pieces = _pieces({"a": [10_000] * 10})
  tallies = records.write(
    tmp_path / "out",
    pieces={"train": lambda: iter(pieces), "test": lambda: iter(())},
    sample_rate_hz=RATE_HZ,
    details={"kind": "speech"},
  )
  assert tallies["train"].records == 10
  opened = source.open_source(str(tmp_path / "out"), "train", RATE_HZ)
  numbers = [opened[k]["audio"][5_000] - LEVEL for k in range(10)]
  assert numbers == list(range(10))
  with pytest.raises(source.SplitMissing):
    source.open_source(str(tmp_path / "out"), "test", RATE_HZ)


@given(st.lists(st.integers(1, 25_000), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_whole_pieces_stay_as_they_are(lengths):
  pieces = _pieces({"a": lengths})
  tally = records.Tally()
  assert list(records.whole(pieces, tally=tally)) == pieces
  assert (tally.records, tally.samples) == (len(lengths), sum(lengths))


def test_a_failure_on_the_way_leaves_nothing(tmp_path):
  def fails():
    yield from _pieces({"a": [30_000]})
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    records.write(
      tmp_path / "out",
      pieces={"train": fails},
      sample_rate_hz=RATE_HZ,
      details={},
    )
  assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_is_a_disk_error(tmp_path, monkeypatch):
  def refuse(*_):
    raise RuntimeError("write() failed: No space left; writing x")

  monkeypatch.setattr(records.dataset_files.Shard, "add", refuse)
  with pytest.raises(errors.DiskError, match=r"No space left; "):
    records.write(
      tmp_path / "out",
      pieces={"train": lambda: iter(_generator())},
      sample_rate_hz=RATE_HZ,
      details={},
    )
  assert not list(tmp_path.iterdir())


def _generator():
  yield from _pieces({"a": [30_000]})
