"""When a checkpoint is due: by steps, by seconds, alike in every process."""

import random
import time

import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.devices import board
from soundstream_jax.train import saves

FIRST = 40  # steps before the start


@pytest.fixture(autouse=True)
def _empty():
  board.clear()
  yield
  board.clear()


class Time:
  """A monotonic clock that stands still; sleeping and dates are refused."""

  def __init__(self):
    self.now = 1000.0

  def monotonic(self):
    return self.now

  def sleep(self, seconds):
    raise AssertionError(f"waited {seconds} s for a notice")


@pytest.fixture
def clock(monkeypatch):
  found = Time()
  monkeypatch.setattr(saves, "time", found)
  return found


def _saves(*, primary=None, start=0, every_steps=1_000_000, every_seconds=10.0):
  settings = config_lib.Checkpoint(
    every_steps=every_steps, every_seconds=every_seconds
  )
  return saves.Saves(settings, first=FIRST, start=start, primary=primary)


def _due(one, clock, *, steps, seconds=1.0, bad=()):
  """Plays one process; returns the steps at which a checkpoint was begun."""
  begun, pending = [], None
  for step in range(FIRST + 1, FIRST + 1 + steps):
    clock.now += seconds
    due = one.due(step)
    if pending is not None and pending not in bad:
      one.begun()
      begun.append(pending)
    pending = step if due else None
  return begun


def test_without_seconds_a_checkpoint_is_due_at_multiples_alone(clock):
  one = _saves(every_steps=7, every_seconds=0.0)
  assert _due(one, clock, steps=30, seconds=1e9) == [42, 49, 56, 63]
  assert board.look("saves/0") is None


def test_by_seconds_one_is_due_soon_after_the_last_was_begun(clock):
  begun = _due(_saves(), clock, steps=60)
  # Ten seconds, AHEAD steps from the decision and one until it is read.
  gap = 10 + saves.AHEAD + 1
  assert begun == [FIRST + 10 + saves.AHEAD + gap * n for n in range(4)]


def test_one_that_is_due_by_steps_starts_the_clock_anew(clock):
  assert _due(_saves(every_steps=9), clock, steps=50) == [45, 54, 63, 72, 81]


def test_a_bad_step_that_was_promised_is_made_up_for_at_once(clock):
  promised = FIRST + 10 + saves.AHEAD
  begun = _due(_saves(), clock, steps=25, bad={promised})
  assert begun == [promised + 2 + saves.AHEAD]


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("every_seconds", [0.001, 3.0, 20.0])
def test_processes_that_step_together_agree_and_never_wait(
  clock, processes, every_seconds
):
  """Any order that devices which wait for each other allow, drawn 30 times."""
  steps = 60
  for seed in range(30):
    chance = random.Random(seed)
    board.clear()
    everyone = [
      _saves(primary=index == 0, every_seconds=every_seconds)
      for index in range(processes)
    ]
    answers = [{} for _ in everyone]
    # What each does for a step: hands it over, asks, reads the one before.
    handed = [FIRST] * processes
    doing = ["hand"] * processes
    while min(handed) < FIRST + steps or "ask" in doing:
      ready = []
      for index, what in enumerate(doing):
        before = handed[index] - 1
        if what == "read" and min(handed) < before:
          continue  # its metrics are not computed yet
        if what == "hand" and handed[index] == FIRST + steps:
          continue
        ready.append(index)
      index = chance.choice(ready)
      clock.now += chance.expovariate(1.0)
      step = handed[index]
      if doing[index] == "hand":
        handed[index] += 1
        doing[index] = "ask"
      elif doing[index] == "ask":
        answers[index][step] = everyone[index].due(step)
        doing[index] = "read"
      else:
        if answers[index].get(step - 1):
          everyone[index].begun()
        doing[index] = "hand"
    assert all(found == answers[0] for found in answers)
    assert len(answers[0]) == steps
    if every_seconds < 1:
      assert sum(answers[0].values()) > steps / 10


def test_a_process_waits_for_an_answer_that_is_not_there_yet(monkeypatch):
  first, second = _saves(primary=True), _saves(primary=False)
  for step in range(FIRST + 1, FIRST + 1 + saves.AHEAD):
    assert not second.due(step)  # before any decision
  waits = []

  def sleep(_):
    waits.append(1)
    if len(waits) == 3:
      first.due(FIRST + 1)

  monkeypatch.setattr(time, "sleep", sleep)
  assert not second.due(FIRST + 1 + saves.AHEAD)
  assert len(waits) == 3


def test_a_process_that_has_missed_an_answer_fails_instead_of_guessing(clock):
  first, second = _saves(primary=True), _saves(primary=False)
  for step in range(FIRST + 1, FIRST + 8):
    first.due(step)
  with pytest.raises(RuntimeError, match="too far behind"):
    second.due(FIRST + 1 + saves.AHEAD)


def test_a_start_after_a_rollback_reads_nothing_of_the_one_before(clock):
  before = _saves(primary=True)
  clock.now += 100
  for step in range(FIRST + 1, FIRST + 30):
    before.due(step)
  first, second = (_saves(primary=p, start=1) for p in (True, False))
  for step in range(FIRST + 1, FIRST + 9):
    assert first.due(step) == second.due(step) is False


def test_means_of_one_process_stay_as_they_are_without_those_not_finite():
  means = {"a": np.float64(0.1), "b": float("nan"), "c": float("inf")}
  assert saves.agree(means, improves=True) == ({"a": 0.1}, True)
  assert saves.agree({"a": 1.0}, improves=False) == ({"a": 1.0}, False)
