"""A job that is killed twenty times ends with the bits of one that is not.

`tiny`, started by the local launcher, which starts it again each time. Kills
come at seeded random moments of three kinds: while it starts, while it steps,
and inside a save.
"""

import os
import random
import re
import signal
import time

import numpy as np
import pytest

from benchmarks.faults import background_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SEED = 0
# At least five have to hit a save; one that ends too early hits none.
MOMENTS = ["starting"] * 3 + ["stepping"] * 7 + ["saving"] * 10
OVERRIDES = {
  # More than twenty attempts of up to 30 steps reach.
  "num_steps": 620,
  "discriminator.start_step": 120,
  "checkpoint.every_steps": 10,
  "logging.every_steps": 5,
  "logging.tensorboard": False,
  "evaluation.every_steps": 10_000,
  "evaluation.at_steps": "()",
}


def _job(workdir, cache, voices):
  overrides = OVERRIDES | {"compilation_cache": cache, "data.sources": voices}
  return background_job.Job(
    "--processes=1",
    "--devices=1",
    f"--restarts={len(MOMENTS)}",
    training=[
      "--config=tiny",
      f"--workdir={workdir}",
      *(f"--config.{name}={value}" for name, value in overrides.items()),
    ],
  )


def _kill(job, moment, chance, seen):
  """Kills at a moment; returns (index behind the lines so far, in a save)."""
  seen = job.until(r"started; process ids", seen)
  if moment == "starting":
    time.sleep(chance.uniform(0, 8))
  else:
    at = seen
    if moment == "stepping":
      for _ in range(chance.randint(1, 6)):
        at = job.until(r"\] step \d+/", at)
      time.sleep(chance.uniform(0, 0.3))
    else:
      for _ in range(chance.randint(1, 3)):
        at = job.until(r"saving step", at)
      time.sleep(chance.uniform(0, 0.02))
  os.kill(job.pids()[0], signal.SIGKILL)
  end = job.until("ended first, killed by SIGKILL", seen)
  text = "".join(job.lines[seen:end])
  begun = set(re.findall(r"saving step (\d+)", text))
  on_disk = set(re.findall(r"step (\d+) is on disk", text))
  return end, bool(begun - on_disk)


def test_twenty_kills_change_no_bit(voices, saved_arrays, tmp_path):
  cache = tmp_path / "cache"
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  with _job(whole, cache, voices) as job:
    assert job.end() == 0, job.text[-5000:]
  chance = random.Random(SEED)
  moments = MOMENTS[:]
  chance.shuffle(moments)
  seen, in_saves = 0, 0
  with _job(killed, cache, voices) as job:
    for number, moment in enumerate(moments):
      seen, in_save = _kill(job, moment, chance, seen)
      in_saves += in_save
      print(f"kill {number + 1} while {moment}; inside a save: {in_save}")
    assert job.end() == 0, job.text[-5000:]
    assert "set aside" not in job.text
  print(f"{len(moments)} kills, {in_saves} inside a save")
  assert in_saves >= 5
  last = OVERRIDES["num_steps"]
  one, other = saved_arrays(whole, last), saved_arrays(killed, last)
  assert one.keys() == other.keys()
  for path, array in one.items():
    np.testing.assert_array_equal(array, other[path], err_msg=path)
