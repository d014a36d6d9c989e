"""The notice board of a process on its own; tests/launch has several."""

import threading
import time

import pytest

from soundstream_jax.devices import board


@pytest.fixture(autouse=True)
def _empty():
  board.clear()
  yield
  board.clear()


def test_a_notice_is_seen_until_a_newer_one_takes_its_place():
  assert board.look("stop/0") is None
  board.post("stop/0", "3")
  board.post("stop/0", "4")
  board.post("stop/1", "9")
  board.post("stopped", "no")
  assert board.look("stop/0") == "4"
  assert board.look_below("stop") == {"0": "4", "1": "9"}


def test_who_waits_for_a_notice_gets_it_when_it_comes():
  def later():
    time.sleep(0.1)
    board.post("start", "go")

  thread = threading.Thread(target=later)
  thread.start()
  assert board.wait_for("start", seconds=10) == "go"
  thread.join()


def test_a_notice_that_does_not_come_is_a_timeout():
  with pytest.raises(TimeoutError, match=r"no start within 0\.1 s"):
    board.wait_for("start", seconds=0.1)
