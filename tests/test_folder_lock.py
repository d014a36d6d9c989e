"""One process at a time is in a folder, and the next one is told which."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from soundstream_jax import errors, folder_lock

HOLD = """
import pathlib, sys, time
from soundstream_jax import folder_lock
with folder_lock.held(pathlib.Path(sys.argv[1]), what="busy"):
  print("held", flush=True)
  time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
  return tmp_path / "new" / "lock"


def test_a_second_one_is_refused_with_host_and_process_of_the_first(path):
  who = f"(process {os.getpid()} on {socket.gethostname()})"
  with folder_lock.held(path, what="--out=D: busy"):
    with (
      pytest.raises(errors.InputError) as refused,
      folder_lock.held(path, what="--out=D: busy"),
    ):
      pass
    assert str(refused.value).startswith(f"--out=D: busy {who}. Wait for it")
  with folder_lock.held(path, what=""):
    pass


def test_a_process_that_is_killed_holds_nothing(path):
  process = subprocess.Popen(
    [sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE
  )
  assert process.stdout.readline() == b"held\n"
  with (
    pytest.raises(errors.InputError, match=f"process {process.pid} on"),
    folder_lock.held(path, what=""),
  ):
    pass
  process.send_signal(signal.SIGKILL)
  process.communicate()
  with folder_lock.held(path, what=""):
    pass


def test_a_lock_on_a_folder_that_its_holder_removed_is_none(path, monkeypatch):
  """The newcomer opened the file, then the holder removed it and ended."""
  flock, removed = fcntl.flock, []

  def late(file, how):
    if not removed:
      removed.append(shutil.rmtree(path.parent))
    flock(file, how)

  monkeypatch.setattr(fcntl, "flock", late)
  with folder_lock.held(path, what=""):
    monkeypatch.undo()
    assert path.is_file()
    with (
      pytest.raises(errors.InputError),
      folder_lock.held(path, what=""),
    ):
      pass


def test_a_file_system_without_locks_lets_everybody_in(path, monkeypatch):
  def without(*_):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", without)
  with folder_lock.held(path, what=""), folder_lock.held(path, what=""):
    pass
  with folder_lock.waited_for(path.parent):
    pass


def test_who_waits_comes_in_when_the_other_is_out(tmp_path):
  inside, most = [], []

  def work():
    for _ in range(20):
      with folder_lock.waited_for(tmp_path):
        inside.append(None)
        most.append(len(inside))
        inside.pop()

  threads = [threading.Thread(target=work) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert most == [1] * 80
  assert list(tmp_path.iterdir()) == []


def test_who_waits_for_a_moment_says_so_and_not_for_ever(
  tmp_path, monkeypatch, capfd
):
  monkeypatch.setattr(folder_lock, "_MOMENT_SECONDS", 0.5)
  monkeypatch.setattr(folder_lock, "_SAY_SECONDS", 0.1)
  with (
    folder_lock.waited_for(tmp_path),
    pytest.raises(errors.InputError, match="another process has been writ"),
    folder_lock.waited_for(tmp_path),
  ):
    pass
  assert (
    "waiting for another process that writes into" in capfd.readouterr().err
  )
  with folder_lock.waited_for(tmp_path):
    pass
