"""A folder of codes is made by many, is resumed, and is of one kind."""

import concurrent.futures
import contextlib
import dataclasses
import errno
import shutil
import signal
import subprocess
import sys
import time

import jax
import pytest

from soundstream_jax import errors, folder_lock, whole_files
from soundstream_jax.codec import trained_model
from soundstream_jax.codec.tokens import index, inputs, shards, work
from soundstream_jax.codec.tokens import plan as plan_lib

HOW = shards.How(layers=3, mono=False, denoise=False)


@pytest.fixture
def built(monkeypatch):
  """Numbers of the shards that are built, in order."""
  numbers, build = [], shards.build

  def counted(out, plan, number, **others):
    numbers.append(number)
    build(out, plan, number, **others)

  monkeypatch.setattr(shards, "build", counted)
  return numbers


@pytest.fixture
def complete(tokens, voices, tmp_path):
  """The codes of `voices`, made in one go; five shards."""
  return tokens(voices, out=tmp_path / "complete")[0]


class _Killed(BaseException):
  pass


@pytest.fixture
def killed_after(monkeypatch):
  """Has the work end after so many shards; half of another one stays."""
  build = shards.build

  def kill(count):
    def until(out, plan, number, **others):
      if (out / shards.name(number)).exists():
        raise AssertionError(f"shard {number} is built again")
      if len(list(out.glob("codes-*.npy"))) == count:
        path = whole_files.unfinished(out / shards.name(number))
        path.write_bytes(b"half")
        raise _Killed
      build(out, plan, number, **others)

    monkeypatch.setattr(shards, "build", until)

  return kill


def test_the_same_command_resumes_and_keeps_whole_shards(
  tokens, voices, complete, content, tmp_path, killed_after
):
  out = tmp_path / "tokens"
  killed_after(3)
  with pytest.raises(_Killed):
    tokens(voices, "--workers=1")
  assert not index.complete(out)
  before = {p: p.stat().st_mtime_ns for p in out.glob("codes-*.npy")}
  assert len(before) == 3
  killed_after(99)  # refuses to build a shard that is there
  _, _, err = tokens(voices)
  assert "12 of 12 records" in err
  assert {p: p.stat().st_mtime_ns for p in before} == before
  assert content(out) == content(complete)


@pytest.mark.parametrize("locks", [True, False])
def test_two_at_once_share_the_shards_and_without_locks_they_agree(
  voices, complete, content, built, model, tmp_path, monkeypatch, locks
):
  def no_locks(*_):
    raise OSError(errno.ENOTSUP, "no locks here")

  if not locks:
    monkeypatch.setattr(folder_lock.fcntl, "flock", no_locks)
  out, data = tmp_path / "shared", inputs.find(voices)
  settings = {
    "model": model.fingerprint.hex(),
    "bitrate": "1800",
    "mono": False,
    "denoise": False,
  }

  def command():
    plan = plan_lib.make(data, settings)
    plan_lib.begin(out, plan)
    seen = []
    work.run(
      out,
      plan,
      data=data,
      model=model,
      how=HOW,
      threads=2,
      told=seen.append,
      waiting=lambda count: None,
    )
    index.finish(out, plan, data=data, model=model, how=HOW)
    return sum(done.items for done in seen)

  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    counted = [pool.submit(command) for _ in range(2)]
  counts = [future.result() for future in counted]
  assert all(count <= 12 for count in counts)
  assert set(built) == {0, 1, 2, 3, 4}
  assert len(built) == 5 or not locks
  assert content(out) == content(complete)


def test_a_shard_that_another_holds_is_waited_for(
  tokens, voices, built, monkeypatch, tmp_path
):
  out = tmp_path / "tokens"
  lock = out / plan_lib.FOLDER / "00003.lock"
  held = contextlib.ExitStack()
  held.enter_context(folder_lock.held(lock, what=""))
  monkeypatch.setattr(work, "_WAIT_SECONDS", 0.05)
  sleep = time.sleep

  def other_dies(seconds):
    assert sorted(built) == [0, 1, 2, 4]
    held.close()
    sleep(seconds)

  monkeypatch.setattr(work.time, "sleep", other_dies)
  _, _, err = tokens(voices)
  assert err.count("waiting for 1 shard that other processes work on") == 1
  assert sorted(built) == [0, 1, 2, 3, 4]


def test_another_model_bitrate_or_input_is_refused_in_one_line(
  tokens, noise, model, tmp_path, monkeypatch, content, built
):
  other = dataclasses.replace(model, fingerprint=bytes(32))
  noise("a.wav")
  noise("b.wav")
  data, more = tmp_path / "in", tmp_path / "more"
  shutil.copytree(data, more)
  shutil.copy(noise("c.wav"), more)
  (data / "c.wav").unlink()

  def refused():
    before = content(tmp_path)
    for options, match in (
      (["--bitrate=600"], "begun with --bitrate=1800, and this command has"),
      (["--mono"], "begun with --mono=False, and this command has --mono=True"),
    ):
      assert match in _line(tokens(data, *options, code=2))
    assert "begun with another --data" in _line(tokens(more, code=2))
    with monkeypatch.context() as patch:
      patch.setattr(trained_model, "load", lambda *_, **__: other)
      line = _line(tokens(data, code=2))
      assert f"begun with --model={model.fingerprint.hex()[:12]}," in line
      assert "--model=000000000000." in line
    assert content(tmp_path) == before

  with monkeypatch.context() as patch, pytest.raises(_Killed):
    patch.setattr(shards, "build", _raise_killed)
    tokens(data)
  refused()
  assert "the first is 'c.wav'" in _line(tokens(more, code=2))
  tokens(data)
  refused()
  assert built == [0]


def _raise_killed(*_, **__):
  raise _Killed


def _line(result):
  _, out, err = result
  assert out == "" and err.count("\n") == 1 and err.startswith("error: ")
  return err


def test_what_cannot_be_begun_is_refused_in_one_line(
  tokens, noise, voices, model, tmp_path, monkeypatch
):
  empty = tmp_path / "empty"
  empty.mkdir()
  data = noise("a.wav").parent
  for folder, match in (
    (empty, "neither a prepared dataset nor audio"),
    (tmp_path / "none", "does not exist"),
    (data / "a.wav", "is a file"),
    ("gs://bucket/x", "Mount it"),
  ):
    assert match in _line(tokens(folder, code=2))
    assert not (tmp_path / "tokens").exists()
  (empty / "notes").write_text("mine")
  assert "other files (notes)" in _line(tokens(data, out=empty, code=2))
  assert "is a file" in _line(tokens(data, out=empty / "notes", code=2))
  assert "'0' is not a number" in _line(tokens(data, "--workers=0", code=2))
  assert "was trained without" in _line(tokens(data, "--denoise", code=2))
  assert "Use one of:" in _line(tokens(data, "--bitrate=7", code=2))
  config = dataclasses.replace(
    model.config,
    quantizer=dataclasses.replace(
      model.config.quantizer, codebook_size=1 << 17
    ),
  )
  large = dataclasses.replace(model, config=config)
  monkeypatch.setattr(trained_model, "load", lambda *_, **__: large)
  assert "codebook_size=131072" in _line(tokens(data, code=2))
  two = tmp_path / "two"
  for name in ("a", "b"):
    shutil.copytree(voices, two / name)
  assert "holds 2 datasets" in _line(tokens(two, code=2))
  (two / "a" / "dataset_info.json").write_text("{")
  assert "is damaged" in _line(tokens(two / "a", code=2))


def test_a_full_disk_ends_the_work_and_leaves_whole_shards(
  tokens, voices, monkeypatch, tmp_path
):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(shards._File, "end", full)
  line = _line(tokens(voices, "--workers=1", code=errors.EXIT_DISK))
  assert "could not be written" in line and "No space left" in line
  assert list((tmp_path / "tokens").glob("*.npy")) == []
  assert list((tmp_path / "tokens").glob(".*")) == []


def test_shards_are_a_function_of_the_input_and_not_too_many():
  class Files:
    def __init__(self, sizes):
      self._sizes = sizes

    def sizes(self):
      return {"": self._sizes}

    def listing(self):
      return {"files": []}

  def shards_of(sizes):
    plan = plan_lib.make(Files(sizes), {})
    covered = [n for shard in plan.shards for n in shard.numbers]
    assert covered == list(range(len(sizes)))
    return len(plan.shards)

  assert shards_of([1] * 100) == 1
  assert shards_of([10 << 20] * 100) == 100
  assert shards_of([1, 100 << 30, 1]) == 3
  assert 5_000 < shards_of([1 << 30] * 1_000_000) <= 10_000


@pytest.mark.slow
def test_a_killed_command_is_resumed_by_two_others(
  voices, complete, content, model_folder, tmp_path
):
  out = tmp_path / "tokens"
  argv = [sys.executable, "-m", "soundstream_jax.cli", "tokens"]
  argv += [f"--data={voices}", f"--model={model_folder}", f"--out={out}"]
  argv += ["--workers=1"]

  def start():
    return subprocess.Popen(argv, stderr=subprocess.DEVNULL)

  first = start()
  while not list(out.glob(f"{plan_lib.FOLDER}/0*.json")):
    assert first.poll() is None
    time.sleep(0.005)
  first.send_signal(signal.SIGKILL)
  first.wait()
  there = [
    out / shards.name(int(path.stem))
    for path in out.glob(f"{plan_lib.FOLDER}/0*.json")
  ]
  before = {path: path.stat().st_mtime_ns for path in there}
  assert 0 < len(before) < 5
  assert not index.complete(out)
  assert [other.wait() for other in (start(), start())] == [0, 0]
  assert {path: path.stat().st_mtime_ns for path in there} == before
  assert content(out) == content(complete)


def test_cores_and_devices_are_all_used(monkeypatch):
  assert work.default_threads() >= len(jax.local_devices()) == 8
