"""One job at a time writes into a workdir: running.json says which."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import holder as holder_lib


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
  for name, seconds in (
    ("RENEW_SECONDS", 0.05),
    ("SILENT_SECONDS", 0.6),
    ("_YIELD_SECONDS", 0.6),
    ("_LOOK_SECONDS", 0.05),
  ):
    monkeypatch.setattr(holder_lib, name, seconds)


@pytest.fixture
def lost():
  return []


@pytest.fixture
def holder(tmp_path, lost):
  made = holder_lib.Holder(tmp_path, on_lost=lost.append)
  yield made
  made.release()


@pytest.fixture
def other():
  """A process that does nothing, and as what it would hold a workdir."""
  code = (
    "from soundstream_jax.checkpoint import holder as h; import json, sys\n"
  )
  code += "print(json.dumps(h.identity()), flush=True); sys.stdin.read()"
  process = subprocess.Popen(
    [sys.executable, "-c", code],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    env={**os.environ, "SLURM_JOB_ID": "77"},
  )
  yield process, json.loads(process.stdout.readline())
  process.kill()
  process.communicate()


def _write(tmp_path, record):
  (tmp_path / "running.json").write_text(json.dumps(record))


def _record(tmp_path):
  return json.loads((tmp_path / "running.json").read_text())


def test_the_holder_says_who_it_is_and_renews_it(holder, tmp_path):
  holder.claim()
  first = _record(tmp_path)
  assert first["process"] == os.getpid()
  assert set(first) >= {"host", "process", "job", "time"}
  time.sleep(0.3)
  assert _record(tmp_path)["time"] > first["time"]
  holder.release()
  assert not (tmp_path / "running.json").exists()


def test_a_second_copy_is_refused_in_one_line_that_names_the_first(
  holder, other, tmp_path
):
  process, record = other
  _write(tmp_path, record)
  with pytest.raises(errors.InputError) as refused:
    holder.claim()
  line = str(refused.value)
  assert f"process {process.pid} of {record['host']}, job 77" in line
  assert "--take_over" in line
  assert _record(tmp_path) == record


def test_a_holder_that_died_on_this_host_is_replaced_at_once(
  holder, other, tmp_path
):
  process, record = other
  _write(tmp_path, record)
  process.kill()
  process.wait()
  holder.claim()
  assert _record(tmp_path)["process"] == os.getpid()


def test_a_number_that_was_given_to_another_process_is_not_the_holder(
  holder, other, tmp_path
):
  _, record = other
  _write(tmp_path, record | {"started": record["started"] - 1})
  holder.claim()
  assert _record(tmp_path)["process"] == os.getpid()


@pytest.mark.parametrize(
  "elsewhere", [{"host": "node7"}, {"system": "another container"}]
)
def test_a_silent_holder_elsewhere_is_replaced_after_a_while(
  elsewhere, holder, other, tmp_path
):
  _write(tmp_path, other[1] | elsewhere)
  begun = time.monotonic()
  holder.claim()
  assert time.monotonic() - begun >= holder_lib.SILENT_SECONDS
  assert _record(tmp_path)["process"] == os.getpid()


# A full disk has no room for a new file; the old one gets a new date.
@pytest.mark.parametrize("sign", ["content", "date"])
def test_a_holder_elsewhere_that_gives_a_sign_of_life_is_not_replaced(
  sign, holder, other, tmp_path
):
  record = other[1] | {"host": "node7", "time": 1.0}
  _write(tmp_path, record)

  def renew():
    time.sleep(0.2)
    if sign == "content":
      _write(tmp_path, record | {"time": 2.0})
    else:
      os.utime(tmp_path / "running.json")

  thread = threading.Thread(target=renew)
  thread.start()
  # Its clock is decades behind, which does not matter.
  with pytest.raises(errors.InputError, match="of node7"):
    holder.claim()
  thread.join()


def test_a_holder_elsewhere_that_ends_meanwhile_is_followed(
  holder, other, tmp_path
):
  _write(tmp_path, other[1] | {"host": "node7"})
  threading.Timer(0.1, (tmp_path / "running.json").unlink).start()
  holder.claim()
  assert _record(tmp_path)["process"] == os.getpid()


def test_take_over_replaces_a_living_holder_which_is_told(
  holder, lost, other, tmp_path
):
  holder.claim()
  _write(tmp_path, other[1])  # as --take_over of another process does
  deadline = time.monotonic() + 10
  while not lost and time.monotonic() < deadline:
    time.sleep(0.02)
  assert lost == [
    f"{tmp_path} was taken over by process {other[0].pid} of "
    f"{other[1]['host']}, job 77"
  ]
  holder.release()
  assert _record(tmp_path) == other[1]  # not ours to remove
  newcomer = holder_lib.Holder(tmp_path, on_lost=lost.append)
  newcomer.claim(take_over=True)
  assert _record(tmp_path)["process"] == os.getpid()
  newcomer.release()


def test_of_two_that_come_at_once_one_gets_the_workdir(
  holder, other, tmp_path, monkeypatch
):
  write = holder_lib.Holder._write

  def and_then_another(self):
    write(self)
    _write(tmp_path, other[1])

  monkeypatch.setattr(holder_lib.Holder, "_write", and_then_another)
  with pytest.raises(errors.InputError, match="has just been taken by process"):
    holder.claim()


@pytest.mark.parametrize(
  "text", ["", "{", "[]", '{"process": "seven"}', "null"]
)
def test_a_file_that_says_nothing_holds_nothing(text, holder, tmp_path):
  (tmp_path / "running.json").write_text(text)
  holder.claim()
  assert _record(tmp_path)["process"] == os.getpid()


def test_a_disk_that_cannot_be_written_is_said_at_once(
  holder, tmp_path, monkeypatch
):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(holder_lib.os, "replace", full)
  with pytest.raises(errors.DiskError, match="No space left"):
    holder.claim()
  assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_later_ends_no_run(holder, tmp_path, monkeypatch):
  holder.claim()
  before = (tmp_path / "running.json").stat().st_mtime_ns

  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(holder_lib.os, "replace", full)
  time.sleep(0.3)
  assert (tmp_path / "running.json").stat().st_mtime_ns > before


def test_a_disk_that_is_read_only_at_the_end_ends_no_run(
  holder, tmp_path, monkeypatch
):
  holder.claim()

  def read_only(*_, **__):
    raise OSError(30, "Read-only file system")

  with monkeypatch.context() as patched:
    patched.setattr(holder_lib.pathlib.Path, "unlink", read_only)
    holder.release()
  assert (tmp_path / "running.json").exists()
