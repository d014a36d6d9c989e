"""Process 0 looks for all: the others get what it finds, and its errors."""

import pytest

from soundstream_jax import errors
from soundstream_jax.devices import board, distributed


@pytest.fixture
def process(monkeypatch):
  """Returns a function that makes this process number N of two."""
  board.clear()
  monkeypatch.setattr(board, "num_processes", lambda: 2)
  # Each process asks for folders in the same order.
  monkeypatch.setattr(board, "folder", lambda name: f"{name}/0")

  def become(number):
    monkeypatch.setattr(board, "process_id", lambda: number)

  yield become
  board.clear()


def not_asked():
  raise AssertionError("only process 0 looks")


def test_a_process_of_its_own_looks_itself():
  assert distributed.from_primary(lambda: [1, {"a": None}]) == [1, {"a": None}]


@pytest.mark.parametrize("found", [None, 7, "text", {"latest": 3, "a": [1.5]}])
def test_the_others_get_what_process_0_finds(found, process):
  process(0)
  assert distributed.from_primary(lambda: found) == found
  process(1)
  assert distributed.from_primary(not_asked) == found


class Special(errors.InputError):
  """An error of a kind that the others do not know."""


@pytest.mark.parametrize(
  ("raised", "kind"),
  [
    (errors.InputError("a=1 is odd."), errors.InputError),
    (errors.DiskError("no space."), errors.DiskError),
    (Special("b=2 is even."), errors.InputError),
  ],
)
def test_the_others_raise_what_process_0_raises(raised, kind, process):
  def fail():
    raise raised

  process(0)
  with pytest.raises(type(raised)):
    distributed.from_primary(fail)
  process(1)
  with pytest.raises(kind) as error:
    distributed.from_primary(not_asked)
  assert str(error.value) == str(raised)


def test_what_is_not_seen_at_last_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(distributed, "SHARED_SECONDS", 0.2)
  (tmp_path / "8").mkdir()
  distributed.wait_until_seen(tmp_path / "8")
  with pytest.raises(errors.InputError, match=r"process 0 on .* does not see"):
    distributed.wait_until_seen(tmp_path / "8", tmp_path / "16")


def test_who_waits_for_process_0_says_so_and_not_for_ever(
  process, monkeypatch, caplog
):
  monkeypatch.setattr(distributed, "_PRIMARY_SECONDS", 2)
  monkeypatch.setattr(distributed, "_SAY_SECONDS", 1)
  process(1)
  with pytest.raises(errors.DiskError, match="process 0 has looked"):
    distributed.from_primary(not_asked)
  assert [r.getMessage().rpartition(": ")[2] for r in caplog.records] == [
    "1 s",
    "2 s",
  ]
