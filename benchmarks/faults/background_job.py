"""A job of the local launcher in the background, for those who disturb it."""

import contextlib
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

# Programs that compile a lot and compute little: LLVM's optimisations do not
# pay. XLA's older way to emit fusions compiles a training step in 5 s instead
# of 12; an XLA that does not know the flag would refuse to start.
QUICK_COMPILATION = "--xla_backend_optimization_level=0"
if importlib.metadata.version("jaxlib").startswith("0.10."):
  QUICK_COMPILATION += " --xla_cpu_use_fusion_emitters=false"


class Job:
  """`launch.local` with its lines so far; a context that leaves nothing.

  Attributes:
    lines: of all processes, as they came.
    times: when, in seconds since the epoch.
  """

  def __init__(
    self,
    *launcher_flags,
    training,
    xla_flags="",
    environment: Mapping[str, str] | None = None,
    launched=True,
  ):
    """Args: without `launched`, training runs as one process of its own."""
    self._process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        *(
          ("soundstream_jax.launch.local", *launcher_flags, "--")
          if launched
          else ("soundstream_jax.train",)
        ),
        *training,
      ],
      env={
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla_flags,
        **(environment or {}),
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors="replace",
    )
    self.lines, self.times = [], []
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self.times.append(time.time())
      self.lines.append(line)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    # The launcher first: it would start again what has ended.
    if self._process.poll() is None:
      self._process.kill()
      self._process.wait()
      for pid in self.pids():
        with contextlib.suppress(ProcessLookupError):  # of an older attempt
          os.kill(pid, signal.SIGKILL)
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

  def running(self):
    return self._process.poll() is None

  def end(self, seconds=600):
    """Waits for the launcher; returns its exit code.

    Raises:
      TimeoutExpired: it has not ended after so many seconds.
    """
    code = self._process.wait(timeout=seconds)
    self._reader.join(timeout=5)
    return code
