"""Logs are never worth a run: a failing disk costs log entries, nothing else."""

import builtins
import contextlib
import json
import pathlib
import resource
import threading
import time

import numpy as np
import pytest
import tensorboardX

from soundstream_jax.train.monitoring import (
  log_files,
  log_thread,
  metric_writer,
)

NOISE = np.random.default_rng(0).uniform(-1, 1, (2_000, 1))
VALUES = NOISE.reshape(50, 40)
SCALARS = {"loss/a": np.float32(0.5), "b": np.array([1.0, np.nan])}
VERSION = "brain.Event:2"


def _write_all(writer, step):
  writer.scalars(step, SCALARS)
  writer.audio(step, "sound", NOISE, 24_000)
  writer.picture(step, "picture", VALUES)
  writer.histogram(step, "codes", np.arange(40) % 7)


def _events(folder):
  """Reads all event files, as TensorBoard does; a broken record is an error."""
  from tensorboard.backend.event_processing import event_file_loader

  return [
    event
    for path in sorted(folder.iterdir())
    for event in event_file_loader.LegacyEventFileLoader(str(path)).Load()
  ]


def _contents(events):
  """What was logged, without the begins of files: (step, summary)."""
  return [
    (event.step, event.summary.SerializeToString(deterministic=True))
    for event in events
    if event.file_version != VERSION
  ]


def _steps(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line)["step"] for line in lines]


@contextlib.contextmanager
def _largest_file(num_bytes):
  """A disk that takes so many bytes of a file, and a part of the last write."""
  _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, most))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _said(caplog):
  return [r.getMessage() for r in caplog.records if r.name == "absl"]


def _drain(writer):
  """Waits until everything handed over was tried."""
  done = threading.Event()
  writer._thread.add("test", done.set)
  assert done.wait(30)


def test_events_are_those_of_tensorboard_x_in_the_same_order(tmp_path):
  ours = metric_writer.MetricWriter(tmp_path, tensorboard=True)
  for step in (1, 2):
    _write_all(ours, step)
  ours.close()
  theirs = tensorboardX.SummaryWriter(str(tmp_path / "theirs"))
  for step in (1, 2):
    theirs.add_scalar("loss/a", np.float32(0.5), step)
    theirs.add_scalar("b/00", 1.0, step)
    theirs.add_scalar("b/01", np.nan, step)
    theirs.add_audio("sound", NOISE, step, sample_rate=24_000)
    colours = metric_writer._colours(VALUES)
    theirs.add_image("picture", colours, step, dataformats="HWC")
    theirs.add_histogram("codes", np.arange(40) % 7, step)
  theirs.close()
  found = _contents(_events(tmp_path / "tensorboard"))
  assert len(found) == 12
  assert found == _contents(_events(tmp_path / "theirs"))
  first, second = (tmp_path / "metrics.jsonl").read_text().splitlines()
  line = json.loads(first)
  assert line.pop("time") == pytest.approx(time.time(), abs=60)
  assert line == {"step": 1, "loss/a": 0.5, "b/00": 1.0, "b/01": None}
  assert json.loads(second)["step"] == 2


def test_a_full_disk_loses_entries_with_one_warning_and_no_half_ones(
  tmp_path, caplog
):
  writer = metric_writer.MetricWriter(tmp_path, tensorboard=True)
  _write_all(writer, 1)
  _drain(writer)
  size = (tmp_path / "metrics.jsonl").stat().st_size
  with _largest_file(size + 10):
    for step in range(2, 6):
      _write_all(writer, step)
    _drain(writer)
  (text,) = _said(caplog)
  assert f"could not be written to {tmp_path} (File too large; " in text
  assert "MB free" in text
  _write_all(writer, 6)
  writer.close()
  # Four steps, each a line, scalars, a sound, a picture and a histogram.
  _, last = _said(caplog)
  assert f"20 log entries of {tmp_path} were lost" in last
  assert _steps(tmp_path) == [1, 6]
  contents = _contents(_events(tmp_path / "tensorboard"))
  assert [step for step, _ in contents] == 6 * [1] + 6 * [6]
  # Every refused entry tried a file of its own, and left none.
  assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def test_a_line_that_a_killed_run_left_half_is_removed(tmp_path):
  whole = '{"step": 1}\n'
  # Longer than what is looked through at once.
  half = '{"step": 2, "x": "' + "y" * 150_000
  (tmp_path / "metrics.jsonl").write_text(whole + half)
  writer = metric_writer.MetricWriter(tmp_path, tensorboard=False)
  writer.scalars(3, {})
  writer.close()
  assert _steps(tmp_path) == [1, 3]


def test_event_files_that_begin_in_one_second_are_all_kept(tmp_path):
  for step in (1, 2, 3):
    writer = metric_writer.MetricWriter(tmp_path, tensorboard=True)
    writer.scalars(step, {"a": 1.0})
    writer.close()
  contents = _contents(_events(tmp_path / "tensorboard"))
  assert [step for step, _ in contents] == [1, 2, 3]


def test_a_folder_that_cannot_be_written_is_a_warning(
  tmp_path, caplog, monkeypatch
):
  def refused(path, mode="r", **options):
    if pathlib.Path(path).is_relative_to(tmp_path):
      raise OSError(30, "Read-only file system")
    return builtins.open(path, mode, **options)

  monkeypatch.setattr(log_files, "open", refused, raising=False)
  writer = metric_writer.MetricWriter(tmp_path, tensorboard=True)
  writer.scalars(1, SCALARS)
  writer.close()
  first, last = _said(caplog)
  assert "(Read-only file system; " in first
  assert "2 log entries of" in last


def test_a_picture_that_cannot_be_made_loses_only_itself(
  tmp_path, caplog, monkeypatch
):
  from tensorboardX import summary

  def no_pil(*_, **__):
    raise ModuleNotFoundError("No module named 'PIL'")

  monkeypatch.setattr(summary, "image", no_pil)
  writer = metric_writer.MetricWriter(tmp_path, tensorboard=True)
  writer.histogram(1, "empty", np.array([]))
  _write_all(writer, 1)
  writer.close()
  assert "No module named 'PIL'" in caplog.text
  assert "2 log entries of" in caplog.text
  assert len(_contents(_events(tmp_path / "tensorboard"))) == 5


def test_a_disk_that_hangs_holds_nobody_up(tmp_path, caplog, monkeypatch):
  answers = threading.Event()
  monkeypatch.setattr(log_thread, "LONGEST_QUEUE", 5)
  monkeypatch.setattr(log_thread, "CLOSE_SECONDS", 0.5)
  monkeypatch.setattr(log_files.LineFile, "append", lambda *_: answers.wait(60))
  try:
    writer = metric_writer.MetricWriter(tmp_path, tensorboard=False)
    start = time.monotonic()
    for step in range(100):
      writer.scalars(step, SCALARS)
    assert time.monotonic() - start < 5
    assert caplog.text.count("has not answered") == 1
    writer.close()
    assert time.monotonic() - start < 10
  finally:
    answers.set()
  assert "100 log entries of" in caplog.text
