"""A job that is killed twenty times ends with the bits of one that is not.

`tiny`, started by the local launcher, which starts it again each time. Kills
come at seeded random moments of three kinds: while it starts, while it steps,
and inside a save.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SEED = 0
# At least five have to hit a save; one that ends too early hits none.
MOMENTS = ["starting"] * 3 + ["stepping"] * 7 + ["saving"] * 10
OVERRIDES = {
  "num_steps": 360,
  "discriminator.start_step": 200,
  "checkpoint.every_steps": 10,
  "logging.every_steps": 5,
  "logging.tensorboard": False,
  "evaluation.every_steps": 10_000,
}


class Job:
  """The launcher, its lines with their times, and its newest process."""

  def __init__(self, workdir, cache, voices):
    overrides = OVERRIDES | {
      "compilation_cache": cache,
      "data.sources": voices,
    }
    self.process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "soundstream_jax.launch.local",
        "--processes=1",
        "--devices=1",
        f"--restarts={len(MOMENTS)}",
        "--",
        "--config=tiny",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in overrides.items()),
      ],
      env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    self.lines = []
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self.process.stdout:
      self.lines.append(line)

  def until(self, pattern, first=0):
    """Waits for a line, from index `first` on; returns the index behind it."""
    deadline = time.monotonic() + 300
    while True:
      for index in range(first, len(self.lines)):
        if re.search(pattern, self.lines[index]):
          return index + 1
      assert time.monotonic() < deadline, "".join(self.lines[-40:])
      assert self.process.poll() is None, "".join(self.lines[-40:])
      time.sleep(0.002)

  def pid(self):
    return int(re.findall(r"process ids (\d+)", "".join(self.lines))[-1])

  def end(self):
    code = self.process.wait(timeout=600)
    self._reader.join(timeout=5)
    return code

  def close(self):
    if self.process.poll() is None:
      self.process.send_signal(signal.SIGTERM)
      self.process.send_signal(signal.SIGTERM)
      self.process.wait(timeout=60)


def _kill(job, moment, chance, seen):
  """Kills at a moment; returns (index behind the lines so far, in a save)."""
  seen = job.until(r"started; process ids", seen)
  if moment == "starting":
    time.sleep(chance.uniform(0, 8))
  else:
    at = job.until(r"\] step \d+/", seen)
    if moment == "stepping":
      time.sleep(chance.uniform(0, 1))
    else:
      job.until(r"saving step", at)
      time.sleep(chance.uniform(0, 0.02))
  os.kill(job.pid(), signal.SIGKILL)
  end = job.until("ended first, killed by SIGKILL", seen)
  text = "".join(job.lines[seen:end])
  begun = set(re.findall(r"saving step (\d+)", text))
  on_disk = set(re.findall(r"step (\d+) is on disk", text))
  return end, bool(begun - on_disk)


def test_twenty_kills_change_no_bit(voices, saved_arrays, tmp_path):
  cache = tmp_path / "cache"
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  job = Job(whole, cache, voices)
  try:
    assert job.end() == 0, "".join(job.lines[-40:])
  finally:
    job.close()
  chance = random.Random(SEED)
  moments = MOMENTS[:]
  chance.shuffle(moments)
  job = Job(killed, cache, voices)
  seen, in_saves = 0, 0
  try:
    for number, moment in enumerate(moments):
      seen, in_save = _kill(job, moment, chance, seen)
      in_saves += in_save
      print(f"kill {number + 1} while {moment}; inside a save: {in_save}")
    assert job.end() == 0, "".join(job.lines[-40:])
  finally:
    job.close()
  print(f"{len(moments)} kills, {in_saves} inside a save")
  assert in_saves >= 5
  assert "set aside" not in "".join(job.lines)
  last = OVERRIDES["num_steps"]
  one, other = saved_arrays(whole, last), saved_arrays(killed, last)
  assert one.keys() == other.keys()
  for path, array in one.items():
    np.testing.assert_array_equal(array, other[path], err_msg=path)
