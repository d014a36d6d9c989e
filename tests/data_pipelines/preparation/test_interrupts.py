"""A signal ends a command also where a library swallows its exception."""

import contextlib
import os
import signal

import pytest

from soundstream_jax.data_pipelines.preparation import interrupts


@pytest.mark.parametrize(
  ("number", "error"),
  [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)],
)
def test_a_signal_whose_exception_is_swallowed_ends_the_next_piece(
  number, error
):
  done = []
  with interrupts.Interrupts() as watcher, pytest.raises(error):
    for piece in range(4):
      if piece == 2:
        with contextlib.suppress(error):  # as numpy's Generator.choice does
          os.kill(os.getpid(), number)
      watcher.check()
      done.append(piece)
  assert done == [0, 1]


def test_handlers_are_put_back():
  before = signal.getsignal(signal.SIGTERM)
  with interrupts.Interrupts():
    assert signal.getsignal(signal.SIGTERM) != before
  assert signal.getsignal(signal.SIGTERM) == before
