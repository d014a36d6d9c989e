"""Real points, killed five times at random moments, end as if nobody had."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.faults import background_job
from soundstream_jax import errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 30
EVERY = 3  # steps from checkpoint to checkpoint
KILLS = 5
SWEEP = """\
def sweep(preset):
  for size in (8, 16):
    yield f"codes{size}", {"quantizer.codebook_size": size}
"""


@pytest.fixture(scope="module")
def start(voices, sweep_preset, tmp_path_factory):
  """Returns a function (out, *flags) -> running command."""
  folder = tmp_path_factory.mktemp("sweep")
  (folder / "codes.py").write_text(SWEEP)

  def run(out, *flags):
    return subprocess.Popen(
      [
        *(sys.executable, "-m", "soundstream_jax.launch.sweep"),
        *(f"--sweep={folder}/codes.py", f"--preset={sweep_preset}"),
        *(f"--out={out}", "--max_parallel=2", *flags),
        *("--evaluate=--metrics=log_mel --sounds=0 --workers=0", "--"),
        *(f"--config.data.sources={voices}", f"--config.num_steps={STEPS}"),
        f"--config.checkpoint.every_steps={EVERY}",
      ],
      env=os.environ
      | {
        "XLA_FLAGS": background_job.QUICK_COMPILATION,
        "XDG_CACHE_HOME": str(folder / "caches"),
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  return run


def workdirs(out):
  return {p.name.split("-")[0]: p for p in sorted((out / "points").iterdir())}


def trained(workdir):
  rows = (workdir / "metrics.jsonl").read_text().splitlines()
  return [
    json.loads(row)["step"] for row in rows if "loss/reconstruction" in row
  ]


def further(process, out, steps):
  """Waits until a point has done so many more steps, or all is over."""
  files = [workdir / "metrics.jsonl" for workdir in workdirs(out).values()]
  before = {file: file.stat().st_size if file.exists() else 0 for file in files}
  deadline = time.monotonic() + 200
  while process.poll() is None and time.monotonic() < deadline:
    for file, size in before.items():
      if file.exists():
        with open(file, "rb") as opened:
          opened.seek(size)
          if opened.read().count(b"loss/reconstruction") >= steps:
            return
    time.sleep(0.01)


def at_work(out):
  """Returns the processes of a sweep's points that are there."""
  found = []
  for process in os.listdir("/proc"):
    if process.isdecimal():
      try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
          words = file.read()
      except OSError:
        continue
      if f"--workdir={out}/points".encode() in words:
        found.append(int(process))
  return found


def test_a_sweep_that_is_killed_five_times_ends_as_one_that_is_not(
  start, saved_arrays, tmp_path
):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  undisturbed = start(whole)
  text = undisturbed.communicate(timeout=400)[0]
  assert undisturbed.returncode == 0, text
  moments = random.Random(0)
  codes = []
  for kill in range(KILLS):
    process = start(killed)
    # A point's first line says that all before is over.
    for line in process.stdout:
      if "is trained" in line:
        break
    # While it starts and compiles, or some steps later.
    if kill in (0, 3):
      time.sleep(moments.uniform(0, 4))
    else:
      further(process, killed, moments.randint(1, 2 * EVERY))
    number = signal.SIGTERM if kill % 2 else signal.SIGKILL
    process.send_signal(number)
    process.communicate(timeout=120)
    codes.append(process.returncode)
    deadline = time.monotonic() + 10
    while at_work(killed):
      assert time.monotonic() < deadline, "a point outlives its sweep"
      time.sleep(0.1)
  assert codes == [
    errors.EXIT_PREEMPTED if kill % 2 else -signal.SIGKILL
    for kill in range(KILLS)
  ]
  last = start(killed)
  text = last.communicate(timeout=400)[0]
  assert last.returncode == 0, text
  for name, workdir in workdirs(killed).items():
    other = workdirs(whole)[name]
    steps = trained(workdir)
    assert sorted(set(steps)) == list(range(1, STEPS + 1))
    # Again only what came after the last checkpoint before a SIGKILL.
    assert len(steps) - STEPS <= EVERY * codes.count(-signal.SIGKILL)
    done = saved_arrays(workdir, STEPS), saved_arrays(other, STEPS)
    assert done[0].keys() == done[1].keys()
    for key in done[0]:
      np.testing.assert_array_equal(done[0][key], done[1][key])
  results = [
    [
      {k: v for k, v in row.items() if k not in ("seconds", "git_revision")}
      for row in json.loads((out / "results.json").read_text())
    ]
    for out in (whole, killed)
  ]
  assert results[0] == results[1] and results[0]
  # One workdir per point is an ordinary run.
  assert re.fullmatch(r"codes8-[0-9a-f]{8}", workdirs(whole)["codes8"].name)
