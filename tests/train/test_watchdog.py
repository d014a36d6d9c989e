"""The watchdog says who holds a run up, and only when somebody does."""

import contextlib
import os
import time

import pytest

from soundstream_jax import errors
from soundstream_jax.devices import board
from soundstream_jax.train.monitoring import slowest, watchdog

HOSTS = {0: "a", 1: "b", 2: "c"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
  """The same with tenths of seconds."""
  board.clear()
  monkeypatch.setattr(watchdog, "STEP_SECONDS", 0.3)
  monkeypatch.setattr(watchdog, "DATA_SECONDS", 0.6)
  monkeypatch.setattr(watchdog, "POLL_SECONDS", 0.02)
  monkeypatch.setattr(watchdog, "ANSWER_SECONDS", 0.1)
  yield
  board.clear()


def _said(caplog):
  return [r.getMessage() for r in caplog.records if r.name == "absl"]


def _steps(watched, count, *, seconds=0.01):
  for step in range(1, count + 1):
    with watched.phase("step", step):
      time.sleep(seconds)
    watched.stepped()


def test_a_stuck_step_is_named_once_with_stacks_and_its_end(tmp_path, caplog):
  with watchdog.Watchdog(tmp_path) as watched:
    _steps(watched, 5)
    with watched.phase("step", 6):
      time.sleep(1)
    watched.stepped()
    time.sleep(0.2)
  stuck, named, over = _said(caplog)
  assert "stuck: process 0 on " in stuck
  assert "step of step 6" in stuck
  assert "stuck at step 6; slowest: process 0 on" in named
  assert "step 6 goes on after 1 s" in over
  text = (tmp_path / "stacks/process_0.txt").read_text()
  assert text.count("Thread 0x") >= 2
  assert "test_a_stuck_step_is_named_once_with_stacks_and_its_end" in text
  assert text.count("process id") == 1


def test_a_step_may_take_twenty_medians(tmp_path, caplog):
  with watchdog.Watchdog(tmp_path) as watched:
    _steps(watched, 5, seconds=0.05)
    with watched.phase("step", 6):
      time.sleep(0.6)
    watched.stepped()
  assert _said(caplog) == []


def test_data_that_does_not_come_is_named(tmp_path, caplog):
  with watchdog.Watchdog(tmp_path) as watched:
    for _ in range(2):  # a standstill each
      with watched.phase("data", 1):
        time.sleep(1)
  named = [line for line in _said(caplog) if "slowest" in line]
  assert len(named) == 2
  assert "waiting for data at step 1" in named[0]
  text = (tmp_path / "stacks/process_0.txt").read_text()
  assert text.count("data of step 1") == 2


def test_other_phases_may_take_their_time(tmp_path, caplog):
  with watchdog.Watchdog(tmp_path) as watched:
    _steps(watched, 5)
    with watched.phase("save", 6):
      time.sleep(1)
    time.sleep(1)
  assert _said(caplog) == []


def test_the_first_steps_have_nothing_to_be_compared_with(tmp_path, caplog):
  with watchdog.Watchdog(tmp_path) as watched:
    _steps(watched, watchdog.FEWEST_STEPS - 1)
    with watched.phase("step", 9):
      time.sleep(0.8)
  assert _said(caplog) == []


def test_a_clock_that_jumps_and_a_process_that_slept_are_no_standstill(
  tmp_path, caplog, monkeypatch
):
  ahead = 0.0
  monkeypatch.setattr(time, "time", lambda: 1e9 * (1 + ahead))
  # As this process sees it when it was stopped for a while (SIGSTOP).
  clock = lambda: time.monotonic() + ahead  # noqa: E731
  with watchdog.Watchdog(tmp_path, clock=clock) as watched:
    _steps(watched, 5)
    for ahead in (1000.0, 2000.0):
      with watched.phase("step", 6):
        time.sleep(0.1)
        ahead += 500
        time.sleep(0.1)
  assert _said(caplog) == []


@pytest.mark.parametrize("abort", [False, True])
def test_abort_ends_the_process_after_the_naming(
  tmp_path, caplog, monkeypatch, abort
):
  codes = []
  monkeypatch.setattr(os, "_exit", codes.append)
  with watchdog.Watchdog(tmp_path, abort=abort) as watched:
    with watched.phase("data", 3):
      time.sleep(1)
    assert codes == abort * [errors.EXIT_STUCK]
  assert codes == abort * [errors.EXIT_STUCK]
  assert sum("slowest" in line for line in _said(caplog)) == 1
  assert errors.EXIT_STUCK not in errors.FINAL


def test_what_goes_on_while_it_is_named_does_not_end(
  tmp_path, caplog, monkeypatch
):
  codes = []
  monkeypatch.setattr(os, "_exit", codes.append)
  monkeypatch.setattr(watchdog, "ANSWER_SECONDS", 1.0)
  with watchdog.Watchdog(tmp_path, abort=True) as watched:
    with watched.phase("data", 3):
      time.sleep(0.9)
    time.sleep(1.2)
  assert codes == []
  assert "goes on" in _said(caplog)[-1]


def test_stacks_that_cannot_be_written_are_a_warning(tmp_path, caplog):
  (tmp_path / "stacks").write_text("not a folder")
  with (
    watchdog.Watchdog(tmp_path) as watched,
    watched.phase("data", 1),
  ):
    time.sleep(1)
  first, *rest = _said(caplog)
  assert "stacks could not be written" in first
  assert "MB free" in first
  assert any("slowest" in line for line in rest)


def _reports(*states):
  return [
    slowest.Report(HOSTS[process], process, *state)
    for process, state in enumerate(states)
    if state
  ]


@pytest.mark.parametrize(
  ("states", "expected"),
  [
    (
      [("step", 7, 5.0), None, ("data", 7, 9.0)],
      "process 1 on b is silent: stopped, dead or cut off",
    ),
    ([("step", 7, 5.0), None, None], "processes 1 on b, 2 on c are silent"),
    (
      [("step", 7, 5.0), ("data", 7, 60.0), ("step", 6, 5.0)],
      "process 1 on b: waiting for data at step 7 for 60 s",
    ),
    (
      [("step", 7, 5.0), ("save", 7, 8.0), ("step", 7, 5.0)],
      "process 1 on b: save at step 7 for 8 s",
    ),
    (
      [("step", 7, 5.0), ("step", 7, 5.0), ("step", 6, 5.0)],
      "process 2 on c: at step 6, others at step 7",
    ),
    (3 * [("step", 7, 5.0)], "all 3 processes: waiting for step 7"),
  ],
)
def test_the_slowest_is_silent_or_elsewhere_or_behind(states, expected):
  assert slowest.name(_reports(*states), hosts=HOSTS, count=3).startswith(
    expected
  )


def test_a_line_names_only_a_few_of_many_hosts():
  hosts = {process: f"host-{process}" for process in range(64)}
  line = slowest.name([], hosts=hosts, count=64)
  assert line.startswith("processes 0 on host-0, 1 on host-1, ")
  assert "and 60 more are silent" in line


def test_a_report_survives_the_board():
  (report,) = _reports(("data", 3, 4.5))
  board.post("stuck/1/0", report.to_json())
  (text,) = board.look_below("stuck/1").values()
  assert slowest.from_json(text) == report


def test_a_phase_ends_however_it_is_left(tmp_path, caplog):
  with watchdog.Watchdog(tmp_path) as watched:
    with (
      contextlib.suppress(StopIteration),
      watched.phase("data", 1),
    ):
      raise StopIteration
    time.sleep(1)
  assert _said(caplog) == []
