"""Two processes that find something together, and what small models need."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np

from benchmarks.faults import background_job
from soundstream_jax.devices import sharding

# Of benchmarks, which no environment has installed.
ROOT = pathlib.Path(__file__).parents[2]


def free_port() -> int:
  """Returns a port that nobody listens to."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]


def find(
  program: str, task: dict, folder: pathlib.Path, *, devices: int
) -> list[dict[str, np.ndarray]]:
  """Runs `program FILE.json PROCESS_ID` twice, and returns what each found.

  Args:
    program: writes its arrays to `OUT-PROCESS_ID.npz`.
    task: what the file says beside `coordinator` and `out`.
    folder: for the files.
    devices: of each process.
  """
  out = folder / "found"
  place = {"coordinator": f"127.0.0.1:{free_port()}", "out": str(out)}
  (folder / "task.json").write_text(json.dumps({**task, **place}))
  flags = (
    f"--xla_force_host_platform_device_count={devices} "
    f"{background_job.QUICK_COMPILATION}"
  )
  environment = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": flags,
    "PYTHONPATH": str(ROOT),
  }
  running = [
    subprocess.Popen(
      [sys.executable, program, folder / "task.json", str(k)],
      env=os.environ | environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for k in range(2)
  ]
  try:
    for process in running:
      text, _ = process.communicate(timeout=600)
      assert process.returncode == 0, text
  finally:
    for process in running:
      process.kill()
  return [dict(np.load(f"{out}-{k}.npz")) for k in range(2)]


@contextlib.contextmanager
def small_arrays_are_split():
  """A small model's arrays are split over the axis fsdp, as a large one's."""
  before = sharding.SMALLEST_SHARDED
  sharding.SMALLEST_SHARDED = 64
  try:
    yield
  finally:
    sharding.SMALLEST_SHARDED = before
