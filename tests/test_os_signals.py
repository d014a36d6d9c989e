"""Handlers are installed for a while, in the main thread, and put back."""

import os
import signal
import threading

from soundstream_jax import os_signals

NUMBERS = (signal.SIGUSR1, signal.SIGUSR2)


def test_handlers_hear_their_signals_and_are_put_back_one_or_all():
  heard = []
  before = [signal.getsignal(number) for number in NUMBERS]
  handlers = os_signals.Handlers()
  handlers.install(NUMBERS, lambda number, frame: heard.append(number))
  for number in NUMBERS:
    os.kill(os.getpid(), number)
  assert heard == list(NUMBERS)
  handlers.restore(NUMBERS[0])
  assert signal.getsignal(NUMBERS[0]) == before[0]
  assert signal.getsignal(NUMBERS[1]) != before[1]
  handlers.restore()
  assert [signal.getsignal(number) for number in NUMBERS] == before


def test_another_thread_installs_nothing():
  before = signal.getsignal(NUMBERS[0])
  handlers = os_signals.Handlers()
  thread = threading.Thread(target=handlers.install, args=(NUMBERS, print))
  thread.start()
  thread.join()
  assert signal.getsignal(NUMBERS[0]) == before
  handlers.restore()
  assert signal.getsignal(NUMBERS[0]) == before
