"""Parts of a measurement: bits, lines on disk, and other processes."""

import contextlib
import json
import multiprocessing
import os
import select
import signal
import threading

import numpy as np
import pytest

from soundstream_jax import errors, metrics
from soundstream_jax.codec.sstr.entropy import frequencies, measuring
from soundstream_jax.evaluate.measuring import (
  bits,
  pool,
  progress,
  store,
  tasks,
)
from tests import test_imports

RATE = 24_000


def _codes(clips=5, frames=600, layers=3, size=16, seed=0):
  rng = np.random.default_rng(seed)
  skewed = rng.geometric(0.4, size=(clips, frames, layers)) - 1
  return list(np.minimum(skewed, size - 1))


def test_tables_never_see_the_clip_that_they_code():
  codes, fingerprint = _codes(), bytes(32)
  counts = sum(measuring.count(c, 16) for c in codes)
  for index in range(len(codes)):
    without = np.concatenate(codes[:index] + codes[index + 1 :])
    tables = bits.of_others(
      codes, index, counts=counts, fingerprint=fingerprint
    )
    expected = frequencies.from_counts(
      measuring.count(without, 16), fingerprint=fingerprint
    )
    assert tables.identity == expected.identity
  one = codes[:1]
  assert (
    bits.of_others(
      one, 0, counts=measuring.count(one[0], 16), fingerprint=fingerprint
    )
    is None
  )


def test_coding_with_fitting_tables_takes_fewer_bits_and_no_layer_more():
  codes = _codes()
  counts = sum(measuring.count(c, 16) for c in codes)
  tables = bits.of_others(codes, 0, counts=counts, fingerprint=bytes(32))
  packed = bits.packed(codes[0], 16)
  coded = bits.entropy_coded(codes[0], tables)
  # 600 frames of 4 bits; a whole byte at the end of each of three chunks.
  np.testing.assert_array_equal(packed, [2400] * 3)
  assert np.all(coded < 0.8 * packed)
  uniform = np.random.default_rng(1).integers(0, 16, size=(600, 3))
  assert np.all(bits.entropy_coded(uniform, tables) <= packed)


def _line(**fields):
  values = {"values": {"a": 1.5, "b": None}, "missing": {"b": "why"}}
  return store.Line(
    key="opus@6000",
    clip="c",
    kind="speech",
    seconds=2.0,
    subject=store.subject("v1", "sound"),
    versions={"a": "1", "b": "2"},
    **{**values, **fields},
  )


def test_a_line_is_found_again_and_of_another_subject_it_is_not(tmp_path):
  line = _line(payload_bits=12_120)
  store.Store(tmp_path).add(line)
  again = store.Store(tmp_path)
  assert again.find("opus@6000", "c", line.subject) == line
  for version, sound in (("v2", "sound"), ("v1", "other sound")):
    assert again.find("opus@6000", "c", store.subject(version, sound)) is None
  assert again.find("opus@9000", "c", line.subject) is None


def test_a_metric_of_another_version_is_measured_again():
  line = _line()
  assert line.lacks({"a": "1", "b": "2"}) == []
  assert line.lacks({"a": "1"}) == []
  assert line.lacks({"a": "1.1", "b": "2", "c": ""}) == ["a", "c"]


def test_a_half_written_line_is_none_and_the_next_one_is_whole(tmp_path):
  first, second = _line(), _line(values={"a": 2.5}, missing={})
  store.Store(tmp_path).add(first)
  path = tmp_path / store.FILE
  whole = path.read_bytes()
  for end in range(1, len(whole)):
    path.write_bytes(whole + whole[:end])
    found = store.Store(tmp_path)
    assert found.find("opus@6000", "c", first.subject) == first
    found.add(second)
    again = store.Store(tmp_path).find("opus@6000", "c", first.subject)
    assert again == second


@pytest.mark.parametrize("text", ["[]", "1", "{}", '{"key": "a"}', "\xff", ""])
def test_lines_of_another_make_are_passed_over(tmp_path, text):
  (tmp_path / store.FILE).write_text(f"{text}\n")
  store.Store(tmp_path).add(_line())
  assert store.Store(tmp_path).find("opus@6000", "c", _line().subject)


def test_a_line_that_was_changed_by_hand_does_not_count(tmp_path):
  store.Store(tmp_path).add(_line())
  path = tmp_path / store.FILE
  entry = json.loads(path.read_text())
  entry["versions"]["a"] = "9"
  path.write_text(json.dumps(entry) + "\n")
  assert store.Store(tmp_path).find("opus@6000", "c", _line().subject) is None


OWN = '''"""Metrics that go wrong in every way."""

import os
import signal


def fine(reference, output, sample_rate_hz):
  """Peak of the output; higher is better."""
  return abs(output).max()


def raises(reference, output, sample_rate_hz):
  """Never has a value; higher is better."""
  raise RuntimeError("the ear\\nis closed")


def crashes(reference, output, sample_rate_hz):
  """Takes its process with it; higher is better."""
  if output[0] > 0.25:
    os.kill(os.getpid(), signal.SIGSEGV)
  return 1.0
'''


@pytest.fixture
def own(tmp_path):
  path = tmp_path / "own.py"
  path.write_text(OWN)
  return str(path)


def _tasks(count=5, names=("fine", "raises", "log_mel")):
  rng = np.random.default_rng(0)
  for i in range(count):
    clip = (0.1 * rng.normal(size=4_000)).astype(np.float32)
    output = clip / 2
    output[0] = i / 8
    yield tasks.Task(
      key="model@1",
      clip=str(i),
      reference=clip,
      sample_rate_hz=RATE,
      metrics=names,
      output=output,
    )


def _perform(own, workers, **what):
  found = pool.perform(_tasks(**what), workers=workers, own_metrics=own)
  return {result.clip: result for result in found}


def test_an_exception_of_a_metric_is_a_missing_value_with_its_name(own):
  for result in _perform(own, 0).values():
    assert result.values["fine"] > 0 and result.values["raises"] is None
    assert result.missing == {"raises": "RuntimeError: the ear is closed"}
    assert not result.failed


def test_a_system_that_fails_is_a_missing_value_of_every_metric():
  class Broken:
    key = "broken@1"

    def __init__(self, answer):
      self._answer = answer

    def code(self, audio, *, sample_rate_hz):
      return self._answer()

  def refuse():
    raise errors.InputError("it takes\nno sound")

  def bug():
    raise KeyError("a")

  (task,) = _tasks(1, names=("log_mel", "si_sdr_db"))
  for answer, why in ((refuse, "it takes no sound"), (bug, "KeyError: 'a'")):
    broken = tasks.Task(
      **{**vars(task), "output": None, "system": Broken(answer)}
    )
    result = tasks.perform(broken, metrics.METRICS)
    assert result.values == {"log_mel": None, "si_sdr_db": None}
    assert result.missing == {"log_mel": why, "si_sdr_db": why}
    assert result.failed == why


@pytest.mark.slow
def test_any_number_of_workers_measures_the_same(own):
  alone = _perform(own, 0, count=9)
  assert len(alone) == 9
  for workers in (1, 2, 3):
    assert _perform(own, workers, count=9) == alone


@pytest.mark.slow
def test_a_crash_costs_the_value_of_its_clip_and_no_other(own):
  found = _perform(own, 2, count=6, names=("fine", "crashes"))
  assert {clip for clip, result in found.items() if result.failed} == {
    *("3", "4", "5")
  }
  for clip in "345":
    assert found[clip].missing["crashes"] == (
      "the process that measured it ended (killed by SIGSEGV)"
    )
  assert [found[clip].values["crashes"] for clip in "012"] == [1.0] * 3


@pytest.mark.parametrize("name", ["measuring.pool", "systems"])
def test_what_workers_import_needs_no_jax(name):
  needed = test_imports.closure(f"soundstream_jax.evaluate.{name}")
  assert len(needed) > 10
  assert test_imports.outside_imports(needed).isdisjoint({"jax", "flax"})


@pytest.mark.slow
def test_workers_load_no_jax_and_are_deaf_to_a_terminals_signals(tmp_path):
  path = tmp_path / "own.py"
  path.write_text(
    "import os, signal, sys\n"
    "def jax_free(reference, output, sample_rate_hz):\n"
    "  '''1 if so; higher is better.'''\n"
    "  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
    "    os.kill(os.getpid(), number)\n"
    "  return float('jax' not in sys.modules)\n"
  )
  found = _perform(str(path), 1, count=2, names=("jax_free", "log_mel"))
  assert [result.values["jax_free"] for result in found.values()] == [1, 1]


@pytest.mark.slow
def test_workers_that_are_starting_are_deaf_too(own, capfd):
  results = pool.perform(_tasks(4), workers=2, own_metrics=own)
  done = threading.Event()

  def signal_them():
    while not done.wait(0.02):
      for process in multiprocessing.active_children():
        # One that has ended is missed by the pool, not here.
        with contextlib.suppress(ProcessLookupError):
          os.kill(process.pid, signal.SIGINT)

  sender = threading.Thread(target=signal_them)
  sender.start()
  try:
    assert len(list(results)) == 4
  finally:
    done.set()
    sender.join()
  assert not capfd.readouterr().err


def _abandoned(pipe, own):
  results = pool.perform(_tasks(50), workers=2, own_metrics=own)
  next(results)
  pipe.send([child.pid for child in multiprocessing.active_children()])
  signal.pause()


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(own):
  context = multiprocessing.get_context("spawn")
  ours, theirs = context.Pipe()
  parent = context.Process(target=_abandoned, args=(theirs, own))
  parent.start()
  children = ours.recv()
  assert children
  watched = [os.pidfd_open(pid) for pid in children]
  parent.kill()
  parent.join()
  for number in watched:
    assert select.select([number], [], [], 30)[0], "a worker is still there"
    os.close(number)


def test_progress_says_the_time_that_is_left(capsys, monkeypatch):
  clock = iter([0.0, 100.0, 131.0, 162.0, 200.0])
  monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
  shown = progress.Progress(4, noun="measurements")
  for _ in range(4):
    shown.add()
  lines = capsys.readouterr().err.splitlines()
  # The first took 100 s, in which processes started.
  assert lines == [
    "1 of 4 measurements",
    "2 of 4 measurements, 1 min 2 s left",
    "3 of 4 measurements, 31 s left",
    "4 of 4 measurements, took 3 min 20 s",
  ]
  assert progress.duration(7_500) == "2 h 5 min"
