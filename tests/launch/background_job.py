"""A job of the local launcher in the background, for tests that disturb it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

# Training that is started here compiles a lot and computes little: neither
# LLVM's optimisations nor XLA's emitters of fusions pay.
QUICK_COMPILATION = (
  "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)


class Job:
  """`launch.local` with its lines so far; a context that leaves nothing."""

  def __init__(self, *launcher_flags, training, xla_flags=""):
    self._process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "soundstream_jax.launch.local",
        *launcher_flags,
        "--",
        *training,
      ],
      env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    self.lines = []
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self.lines.append(line)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._process.poll() is None:
      for pid in self.pids():
        with contextlib.suppress(ProcessLookupError):  # of an older attempt
          os.kill(pid, signal.SIGKILL)
      self._process.kill()
      self._process.wait()
    self._reader.join(timeout=5)
    self._process.stdout.close()

  @property
  def text(self):
    return "".join(self.lines)

  def pids(self):
    """Of the newest attempt."""
    found = re.findall(r"process ids ([\d, ]+)", self.text)
    return [int(pid) for pid in found[-1].split(",")] if found else []

  def until(self, pattern, first=0, *, seconds=400):
    """Waits for a line, from index `first` on; returns the index behind it."""
    deadline = time.monotonic() + seconds
    while True:
      for index in range(first, len(self.lines)):
        if re.search(pattern, self.lines[index]):
          return index + 1
      assert time.monotonic() < deadline, self.text[-5000:]
      assert self._process.poll() is None, self.text[-5000:]
      time.sleep(0.002)

  def end(self, seconds=600):
    """Waits for the launcher; returns its exit code."""
    code = self._process.wait(timeout=seconds)
    self._reader.join(timeout=5)
    return code
