"""Handlers are installed for a while, in the main thread, and put back."""

import os
import signal
import subprocess
import sys
import textwrap
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


def _in_a_new_process(code):
  return subprocess.run(
    [sys.executable, "-c", textwrap.dedent(code)],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )


def test_a_request_to_stop_is_kept_and_handlers_are_put_back():
  before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  with os_signals.StopRequest() as stop:
    assert not stop.asked
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.asked  # at once, in the thread that was hit
    assert stop.wait(0)
  after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  assert after == before
  assert signal.set_wakeup_fd(-1) == -1


def test_a_thread_sees_a_request_while_the_main_thread_is_in_foreign_code():
  done = _in_a_new_process(
    """
    import ctypes, os, signal, threading, time
    from soundstream_jax import os_signals

    def watch():
      time.sleep(0.2)
      os.kill(os.getpid(), signal.SIGTERM)
      os._exit(7 if stop.wait(5) else 8)

    with os_signals.StopRequest() as stop:
      threading.Thread(target=watch).start()
      # Waits for itself: no signal ends it, no handler of Python's can run.
      mutex = ctypes.create_string_buffer(256)
      for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
    """
  )
  assert done.returncode == 7, done.stderr


def test_one_request_may_come_twice_and_a_second_one_ends_the_process():
  done = _in_a_new_process(
    """
    import os, signal, sys, time
    from soundstream_jax import os_signals

    with os_signals.StopRequest() as stop:
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(1.5)
      print("still here", flush=True)
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(5)
    """
  )
  assert done.stdout == "still here\n"
  assert done.returncode == 128 + signal.SIGTERM


def test_a_closed_terminal_asks_for_the_end_unless_nohup_has_it_ignored():
  with os_signals.StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGHUP)
    assert stop.asked
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with os_signals.StopRequest() as stop:
      os.kill(os.getpid(), signal.SIGHUP)
      assert not stop.asked
  finally:
    signal.signal(signal.SIGHUP, before)


def test_another_thread_catches_no_request():
  before = signal.getsignal(signal.SIGTERM)

  def enter():
    with os_signals.StopRequest() as stop:
      seen.append((stop.asked, signal.getsignal(signal.SIGTERM)))

  seen = []
  thread = threading.Thread(target=enter)
  thread.start()
  thread.join()
  assert seen == [(False, before)]


MASKS = """\
import multiprocessing, signal
from soundstream_jax import os_signals

def show():
  blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
  print(sorted(number.name for number in blocked), flush=True)

if __name__ == "__main__":
  child = multiprocessing.get_context("spawn").Process(target=show)
  with os_signals.deaf_children():
    child.start()
  child.join()
  show()
"""


def test_the_first_child_too_begins_deaf(tmp_path):
  script = tmp_path / "parent.py"
  script.write_text(MASKS)
  done = subprocess.run(
    [sys.executable, script], capture_output=True, text=True, check=True
  )
  assert done.stdout.splitlines() == ["['SIGHUP', 'SIGINT', 'SIGTERM']", "[]"]
