"""Folders of real audio files become records that training can read."""

import pathlib

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.data import source
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.corpora import audio_folder
from soundstream_jax.data_pipelines.preparation import datasheet, records

# A lossy codec, or a resampler, away from the ends.
TOLERANCE = {
  ".wav": 1e-3,
  ".flac": 1e-3,
  ".ogg": 0.05,
  ".opus": 0.05,
  ".mp3": 0.05,
}


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
  """Drawing takes longer than what is tested here."""
  monkeypatch.setattr(datasheet, "draw", lambda sheet, path: None)


def _write(path, seconds=2.0, rate_hz=44_100, channels=2):
  """A 440 Hz tone of amplitude 0.5 in the mean of its channels."""
  path.parent.mkdir(parents=True, exist_ok=True)
  t = np.arange(round(seconds * rate_hz)) / rate_hz
  tone = np.sin(2 * np.pi * 440 * t)[:, None]
  levels = {1: [0.5], 2: [0.8, 0.2], 3: [0.9, 0.6, 0.0]}[channels]
  kind = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
  soundfile.write(path, tone * levels, rate_hz, **kind)


def _prepare(tree, out, *flags):
  return prepare.main(
    ["", "--dataset=audio_folder", f"--input={tree}", f"--out={out}", *flags]
  )


def _read(out):
  """Returns split -> its records; splits without records are left out."""
  found = {}
  for split in records.SPLITS:
    try:
      opened = source.open_source(str(out), split, 24_000)
    except source.SplitMissing:
      continue
    found[split] = [opened[k] for k in range(len(opened))]
  return found


@pytest.mark.parametrize(
  ("suffix", "rate_hz", "channels"),
  [
    (".wav", 44_100, 2),
    (".wav", 8_000, 1),
    (".wav", 48_000, 3),
    (".flac", 96_000, 2),
    (".ogg", 44_100, 2),
    (".opus", 48_000, 2),
    (".mp3", 44_100, 2),
  ],
)
def test_any_format_rate_and_channels_become_24_khz_mono(
  tmp_path, suffix, rate_hz, channels
):
  _write(tmp_path / "in" / f"tone{suffix}", 2.0, rate_hz, channels)
  assert _prepare(tmp_path / "in", tmp_path / "out", "--split=100,0,0") == 0
  (record,) = _read(tmp_path / "out")["train"]
  assert record["audio"].dtype == np.int16
  # mp3 and opus add up to a frame; the others are exact.
  assert 48_000 <= len(record["audio"]) <= 48_000 + 2_500
  if suffix != ".mp3":
    assert len(record["audio"]) == 48_000
  middle = record["audio"][12_000:36_000] / 32_768
  spectrum = np.abs(np.fft.rfft(middle)) / 12_000
  assert np.argmax(spectrum) == 440
  assert abs(spectrum[440] - 0.5) < TOLERANCE[suffix]
  spectrum[435:446] = 0
  assert spectrum.max() < 0.01


def test_no_group_is_in_two_splits_and_no_file_is_lost(tmp_path):
  for speaker in range(40):
    for take in range(2):
      _write(tmp_path / "in" / f"s{speaker}" / f"{take}.wav", 1.0, 24_000, 1)
  assert _prepare(tmp_path / "in", tmp_path / "out", "--split=50,25,25") == 0
  found = _read(tmp_path / "out")
  groups = {s: {r["group"] for r in rs} for s, rs in found.items()}
  assert all(groups[split] for split in records.SPLITS)
  assert sum(map(len, groups.values())) == 40
  assert set.union(*groups.values()) == {f"s{k}" for k in range(40)}
  samples = sum(len(r["audio"]) for rs in found.values() for r in rs)
  assert samples == 80 * 24_000
  for split, members in groups.items():
    assert all(records.split_of(g, (50, 25, 25)) == split for g in members)


def test_short_files_of_a_group_are_joined_in_path_order(tmp_path):
  for name, seconds in {"b": 4.0, "a": 3.0, "c": 5.0}.items():
    _write(tmp_path / "in" / "g" / f"{name}.wav", seconds, 24_000, 1)
  assert _prepare(tmp_path / "in", tmp_path / "out", "--split=100,0,0") == 0
  first, second = _read(tmp_path / "out")["train"]
  assert (len(first["audio"]), first["source"]) == (240_000, "g/a.wav")
  assert (len(second["audio"]), second["source"]) == (48_000, "g/c.wav")


def test_preparing_twice_gives_the_same_files(tmp_path):
  for speaker in range(3):
    _write(tmp_path / "in" / f"s{speaker}" / "a.flac", 1.5)
  folders = [tmp_path / name for name in ("one", "two")]
  for out in folders:
    assert _prepare(tmp_path / "in", out, "--split=100,0,0") == 0
  one, two = (
    {f.name: f.read_bytes() for f in out.iterdir()} for out in folders
  )
  assert one == two


@pytest.mark.parametrize(
  ("group_by", "name", "group"),
  [
    ("parent", "a/b/c.wav", "a/b"),
    ("parent", "c.wav", "."),
    ("file", "a/b/c.wav", "a/b/c.wav"),
    ("depth:1", "a/b/c.wav", "a"),
    ("depth:2", "a/b/c.wav", "a/b"),
    ("depth:9", "a/b/c.wav", "a/b"),
    ("depth:1", "c.wav", "."),
    (r"_([a-z]{2})\.", "a/cow_es.wav", "es"),
  ],
)
def test_the_group_of_a_file_follows_group_by(group_by, name, group):
  assert audio_folder.grouping(group_by)(name) == group


@pytest.mark.parametrize(
  ("group_by", "reason"),
  [
    ("depth:0", "at least 1"),
    ("depth:x", "at least 1"),
    ("([a-z", "not a regular expression"),
    ("[a-z]", "0 groups, not one"),
    ("(a)(b)", "2 groups, not one"),
    ("parnet", "Did you mean 'parent'"),
  ],
)
def test_a_bad_group_by_is_an_input_error(group_by, reason):
  with pytest.raises(errors.InputError, match=reason):
    audio_folder.grouping(group_by)


def test_a_file_without_a_group_is_named(tmp_path):
  _write(tmp_path / "in" / "cow_es.wav")
  _write(tmp_path / "in" / "cow.wav")
  with pytest.raises(errors.InputError, match=r"no group in 'cow\.wav'"):
    _prepare(tmp_path / "in", tmp_path / "out", r"--group_by=_(..)\.")


def test_bad_files_are_skipped_and_listed_with_the_reason(tmp_path, capsys):
  tree = tmp_path / "in"
  _write(tree / "good.wav")
  (tree / "text.wav").write_text("not audio")
  (tree / "empty.flac").write_bytes(b"")
  soundfile.write(tree / "none.wav", np.zeros((0, 1)), 24_000)
  soundfile.write(
    tree / "nan.wav", np.full(100, np.nan), 24_000, subtype="FLOAT"
  )
  (tree / "notes.txt").write_text("passed over")
  (tree / ".hidden.wav").write_text("passed over")
  assert _prepare(tree, tmp_path / "out", "--split=100,0,0") == 0
  assert len(_read(tmp_path / "out")["train"]) == 1
  told = capsys.readouterr().err
  assert "skipped 4 of 5 files:" in told
  for name, reason in {
    "text.wav": "cannot be read as audio",
    "empty.flac": "0 bytes",
    "none.wav": "no samples",
    "nan.wav": "NaN or infinite",
  }.items():
    (line,) = [x for x in told.splitlines() if x.startswith(f"  {name}: ")]
    assert reason in line


def test_only_bad_files_are_an_input_error_and_leave_nothing(tmp_path, capsys):
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "text.wav").write_text("not audio")
  with pytest.raises(errors.InputError, match="no audio for training"):
    _prepare(tmp_path / "in", tmp_path / "out", "--split=100,0,0")
  assert "text.wav" in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_short_ends_are_dropped_and_counted(tmp_path, capsys):
  _write(tmp_path / "in" / "a" / "long.wav", 10.5, 24_000, 1)
  _write(tmp_path / "in" / "b" / "short.wav", 0.5, 24_000, 1)
  assert _prepare(tmp_path / "in", tmp_path / "out", "--split=100,0,0") == 0
  assert "dropped 2 ends" in capsys.readouterr().out
  assert len(_read(tmp_path / "out")["train"]) == 1


def _group_in(split, percentages=(90, 5, 5)):
  """A folder name that falls into the split."""
  return next(
    f"g{k}"
    for k in range(1_000)
    if records.split_of(f"g{k}", percentages) == split
  )


def test_nothing_to_train_on_says_how_many_groups_and_what_to_do(tmp_path):
  _write(tmp_path / "in" / _group_in("test") / "a.wav")
  with pytest.raises(errors.InputError) as caught:
    _prepare(tmp_path / "in", tmp_path / "out")
  assert "1 group," in str(caught.value)
  assert "--group_by=file" in str(caught.value)
  assert not (tmp_path / "out").exists()


def test_an_empty_validation_split_is_a_warning(tmp_path, capsys):
  _write(tmp_path / "in" / _group_in("train") / "a.wav")
  assert _prepare(tmp_path / "in", tmp_path / "out") == 0
  assert "warning: no group fell into validation or test" in (
    capsys.readouterr().err
  )
  assert set(_read(tmp_path / "out")) == {"train"}


def test_linked_folders_are_followed_and_loops_end(tmp_path):
  _write(tmp_path / "elsewhere" / "a.wav")
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "in")
  files = audio_folder.find(tmp_path / "in", group_by="parent")
  assert [file.name for file in files] == ["link/a.wav"]


def test_names_that_are_not_utf8_are_read(tmp_path):
  _write(tmp_path / "in" / "a.wav")
  odd = pathlib.Path(tmp_path, "in", "\udcff.wav")
  (tmp_path / "in" / "a.wav").rename(odd)
  assert _prepare(tmp_path / "in", tmp_path / "out", "--split=100,0,0") == 0
  (record,) = _read(tmp_path / "out")["train"]
  assert record["source"] == "\ufffd.wav"


@pytest.mark.parametrize("wrong", ["(", "depth:0", "speaker"])
def test_a_wrong_grouping_is_refused_before_anything_is_unpacked(wrong):
  with pytest.raises(errors.InputError, match="--group_by="):
    audio_folder.describe(None, group_by=wrong)
