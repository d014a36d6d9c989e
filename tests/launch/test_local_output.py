"""The local launcher's own output may fail; its processes are still read."""

import os
import signal
import subprocess
import sys

import pytest

from soundstream_jax import endings
from soundstream_jax.launch import local

# More than a pipe holds: who is not read waits for ever.
LINES = 20_000


class _Broken:
  def __init__(self, error):
    self._error = error

  def write(self, _):
    raise self._error

  def flush(self):
    raise self._error


@pytest.mark.parametrize(
  "error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left")]
)
def test_a_process_is_read_to_its_end(monkeypatch, error):
  process = subprocess.Popen(
    [sys.executable, "-c", f"for _ in range({LINES}): print('a line')"],
    stdout=subprocess.PIPE,
    text=True,
  )
  monkeypatch.setattr(sys, "stdout", _Broken(error))
  local._copy(0, process, [])
  local._say("still there")
  assert process.wait(timeout=20) == 0
  process.stdout.close()


@pytest.mark.parametrize("stdout", ["/dev/full", "closed"])
def test_a_command_keeps_its_exit_code(stdout):
  """Python itself would end with 120 when it cannot flush."""
  redirect = ">&-" if stdout == "closed" else f">{stdout}"
  done = subprocess.run(
    [
      "bash",
      "-c",
      f"{sys.executable} -m soundstream_jax.launch.local --cpus=0 --processes=1"
      f" -- --config=tiny --workdir={sys.executable}/run {redirect}",
    ],
    capture_output=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 2, done.stderr


class _Job:
  def __init__(self):
    self.got = []

  def signal(self, number):
    self.got.append(number)


def test_one_ctrl_c_that_comes_twice_lets_the_job_save(monkeypatch):
  before = {number: signal.getsignal(number) for number in endings.SIGNALS}
  try:
    stop = local._Stop()
    stop.job = _Job()
    os.kill(os.getpid(), signal.SIGINT)  # the terminal's
    os.kill(os.getpid(), signal.SIGHUP)  # and that of a terminal that goes
    assert stop.job.got == [signal.SIGTERM]
    monkeypatch.setattr(local, "_SAME_SECONDS", 0.0)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.job.got == [signal.SIGTERM, signal.SIGKILL]
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
