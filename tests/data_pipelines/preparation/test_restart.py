"""Kills, full disks, other commands: nothing lost, nothing double."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.data import source
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.preparation import datasheet, disk, shards

COMMAND = [sys.executable, "-m", "soundstream_jax.data_pipelines.prepare"]
GROUPS = 10


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
  """Drawing takes longer than what is tested here."""
  monkeypatch.setattr(datasheet, "draw", lambda sheet, path: None)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  """Ten groups of more than half a shard each: ten shards; one bad file."""
  root = tmp_path_factory.mktemp("tree")
  rng = np.random.default_rng(0)
  for group in range(GROUPS):
    folder = root / f"g{group}"
    folder.mkdir()
    for take in range(2):
      audio = rng.normal(0, 3_000, 10 * 96_000 + group * 4_801 + take)
      soundfile.write(
        folder / f"{take}.wav", np.rint(audio).astype(np.int16), 96_000
      )
    # Only its size matters: a shard is 8 MiB of input.
    with open(folder / "bad.wav", "wb") as file:
      file.truncate(4 << 20)
  return root


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
  """The dataset that an undisturbed run makes, in this process."""
  out = tmp_path_factory.mktemp("whole") / "out"
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(datasheet, "draw", lambda sheet, path: None)
    assert prepare.main(_flags(tree, out, "--workers=1")) == 0
  return _contents(out)


def _flags(tree, out, *more):
  return [
    "prepare",
    "--dataset=audio_folder",
    f"--input={tree}",
    f"--out={out}",
    "--split=70,20,10",
    *more,
  ]


def _contents(out):
  return {
    path.name: path.read_bytes()
    for path in out.iterdir()
    if path.suffix != ".png"
  }


def _working_folder(out):
  return out.parent / f".{out.name}.partial"


def _sidecars(out):
  return sorted((_working_folder(out) / shards.FOLDER).glob("*.json"))


def _start(tree, out, *more):
  return subprocess.Popen(
    [*COMMAND, *_flags(tree, out, *more)[1:]],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _wait_for_shards(process, out, count):
  deadline = time.monotonic() + 60
  while len(_sidecars(out)) < count:
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline
    time.sleep(0.01)


def _processes_of(out):
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
      if str(_working_folder(out)) in path.read_text():
        found.append(path.parent.name)
    except OSError:
      continue
  return found


def _interrupted_after(monkeypatch, tree, out, count):
  """Runs the command until `count` shards are there, as Ctrl-C would."""
  build = shards.build
  built = []

  def stops(*args, **kwargs):
    if count:
      built.append(build(*args, **kwargs))
    if len(built) == count:
      raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(shards, "build", stops)
    assert prepare.main(_flags(tree, out, "--workers=1")) == 130


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_same_command_after_a_kill_makes_the_same_files(
  tree, whole, tmp_path, capsys, number
):
  out = tmp_path / "out"
  process = _start(tree, out, "--workers=2")
  _wait_for_shards(process, out, 1)
  process.send_signal(number)
  _, told = process.communicate(timeout=30)
  assert "Traceback" not in told
  if number == signal.SIGTERM:
    assert process.returncode == 128 + signal.SIGTERM
    assert told.splitlines()[-1].startswith(
      "interrupted. The same command resumes: "
    )
  deadline = time.monotonic() + 20
  while _processes_of(out) and time.monotonic() < deadline:
    time.sleep(0.05)  # workers die with their parent
  assert not _processes_of(out)
  assert not out.exists()
  there = len(_sidecars(out))
  before = {path: path.stat().st_mtime_ns for path in _sidecars(out)}
  built = []

  def watch(folder, plan, shard, **kwargs):
    built.append(shard)
    return build(folder, plan, shard, **kwargs)

  build = shards.build
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(shards, "build", watch)
    assert prepare.main(_flags(tree, out, "--workers=1")) == 0
  assert f"going on: {there} of {GROUPS} shards" in capsys.readouterr().err
  assert len(built) == GROUPS - there
  assert len(before) == there
  assert _contents(out) == whole
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_records_are_the_files_in_order_whatever_the_number_of_workers(
  tree, whole, tmp_path
):
  out = tmp_path / "out"
  process = _start(tree, out, "--workers=3")
  printed, told = process.communicate(timeout=60)
  assert process.returncode == 0, told
  assert f"skipped {GROUPS} of {3 * GROUPS} files" in told
  assert "is ready" in printed
  assert _contents(out) == whole
  groups = set()
  for split in ("train", "validation", "test"):
    opened = source.open_source(str(out), split, 24_000)
    seen = [opened[k] for k in range(len(opened))]
    assert groups.isdisjoint(record["group"] for record in seen)
    groups |= {record["group"] for record in seen}
    assert seen == sorted(seen, key=lambda r: (r["group"], r["source"]))
    bandwidth = np.load(out / f"bandwidth_hz-{split}.npy", allow_pickle=False)
    assert bandwidth.shape == (len(opened),)
    assert bandwidth.dtype == np.float32
    assert (bandwidth > 10_000).all()
  assert len(groups) == GROUPS


def test_a_kill_while_the_dataset_is_put_together_loses_nothing(
  tree, whole, tmp_path, monkeypatch
):
  out = tmp_path / "out"
  _interrupted_after(monkeypatch, tree, out, GROUPS)
  rename = os.rename

  def dies_after(steps):
    left = iter(range(steps))

    def step(*args):
      if next(left, None) is None:
        raise KeyboardInterrupt
      return rename(*args)

    return step

  for steps in (0, 1, 5, 5, 1):  # ten shards, the datasheet, the folder
    with monkeypatch.context() as patched:
      # The plan is saved by the same function, before.
      patched.setattr(prepare.job.plan_lib, "save", lambda *_: None)
      patched.setattr(os, "replace", dies_after(steps))
      assert prepare.main(_flags(tree, out, "--workers=1")) == 130
    assert not out.exists()
  with monkeypatch.context() as patched:
    patched.setattr(shards, "build", None)  # nothing is built again
    assert prepare.main(_flags(tree, out, "--workers=1")) == 0
  assert _contents(out) == whole


def test_what_a_kill_at_the_very_end_leaves_is_removed(
  tree, whole, tmp_path, monkeypatch
):
  out = tmp_path / "out"
  _interrupted_after(monkeypatch, tree, out, GROUPS)
  kept = tmp_path / "kept"
  shutil.copytree(_working_folder(out), kept)
  assert prepare.main(_flags(tree, out)) == 0
  for path in kept.glob("shards/*.array_record"):
    path.unlink()  # as they have been renamed
  kept.rename(_working_folder(out))
  with pytest.raises(errors.InputError, match="already holds a dataset"):
    prepare.main(_flags(tree, out))
  assert not _working_folder(out).exists()
  assert _contents(out) == whole


def test_another_command_is_told_what_differs_and_touches_nothing(
  tree, whole, tmp_path, monkeypatch
):
  copy = tmp_path / "in"
  shutil.copytree(tree, copy)
  out = tmp_path / "out"
  _interrupted_after(monkeypatch, copy, out, 2)
  for more, reason in {
    "--kind=music": "--kind=audio, and this command has --kind=music",
    "--sample_rate=16000": "--sample_rate=24000, and this",
    "--group_by=file": "--group_by=parent",
  }.items():
    with pytest.raises(errors.InputError, match=reason) as caught:
      prepare.main(_flags(copy, out, more))
    assert f"or remove {_working_folder(out)}." in str(caught.value)
    assert "\n" not in str(caught.value)
  (copy / "g1" / "1.wav").rename(tmp_path / "kept.wav")
  with pytest.raises(errors.InputError, match=r"first is 'g1/1\.wav'"):
    prepare.main(_flags(copy, out))
  (tmp_path / "kept.wav").rename(copy / "g1" / "1.wav")
  assert len(_sidecars(out)) == 2
  copy.rename(tmp_path / "moved")  # where the files lie does not matter
  assert prepare.main(_flags(tmp_path / "moved", out, "--workers=1")) == 0
  assert _contents(out) == whole


def test_a_second_command_at_the_same_time_is_refused(tree, tmp_path):
  out = tmp_path / "out"
  folder = _working_folder(out)
  folder.mkdir()
  with (
    disk.locked(folder, out),
    pytest.raises(errors.InputError, match="another command is making") as told,
  ):
    prepare.main(_flags(tree, out))
  assert f"(process {os.getpid()} on {socket.gethostname()})" in str(told.value)
  assert folder.exists()


def test_nothing_done_is_nothing_left(tree, tmp_path, monkeypatch, capsys):
  _interrupted_after(monkeypatch, tree, tmp_path / "out", 0)
  assert "interrupted. Nothing is written yet." in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
  tree, whole, tmp_path, workers
):
  # A limit on the size of files refuses writes as a full disk does.
  limit = max(len(data) for data in whole.values()) // 2
  out = tmp_path / "out"
  limited = (
    "import os, resource, sys;"
    f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    "os.execv(sys.argv[1], sys.argv[1:])"
  )
  process = subprocess.run(
    [
      *(sys.executable, "-c", limited),
      *COMMAND,
      *_flags(tree, out, f"--workers={workers}")[1:],
    ],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert process.returncode == errors.EXIT_DISK
  (line,) = process.stderr.splitlines()
  assert f"--out={out} could not be written to {out.parent} (" in line
  assert "File too large; " in line
  assert not out.exists()
  assert not list(tmp_path.rglob("*.array_record.*"))
  assert prepare.main(_flags(tree, out, "--workers=1")) == 0
  assert _contents(out) == whole


def test_an_input_that_is_lost_on_the_way_is_no_bad_file(
  tree, tmp_path, monkeypatch
):
  copy, out = tmp_path / "in", tmp_path / "out"
  shutil.copytree(tree, copy)
  build = shards.build

  def lose(folder, plan, number, **kwargs):
    if number == 3:
      copy.rename(tmp_path / "unmounted")
    return build(folder, plan, number, **kwargs)

  with monkeypatch.context() as patched:
    patched.setattr(shards, "build", lose)
    with pytest.raises(errors.InputError, match="cannot be reached") as caught:
      prepare.main(_flags(copy, out, "--workers=1"))
  assert f"resumes: 3 of {GROUPS} shards are there." in str(caught.value)


def test_a_worker_that_is_killed_is_one_line(tree, tmp_path):
  out = tmp_path / "out"
  process = _start(tree, out, "--workers=2")
  _wait_for_shards(process, out, 1)
  workers = [p for p in _processes_of(out) if int(p) != process.pid]
  os.kill(int(workers[0]), signal.SIGKILL)
  _, told = process.communicate(timeout=30)
  assert process.returncode == 2
  (line,) = told.splitlines()
  assert "was killed (SIGKILL)" in line
  assert "use fewer --workers" in line
