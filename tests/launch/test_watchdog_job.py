"""A process that stands still is named by the others, and the job restarts."""

import os
import signal
import time

import pytest

from benchmarks.faults import background_job

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

# More than the watchdog's limit and the time for answers; less than the
# heartbeats' 40 seconds, after which jax would end the job without a name.
NAMED_SECONDS = 25


def test_a_stopped_process_is_named_and_the_job_starts_again(
  small_overrides, voices, tmp_path
):
  workdir = tmp_path / "run"
  overrides = {
    **small_overrides,
    "mesh.data": -1,
    "num_steps": 100_000,
    "discriminator.start_step": 200_000,
    "checkpoint.every_steps": 20,
    "logging.every_steps": 10,
    "data.sources": voices,
    "compilation_cache": tmp_path / "cache",
  }
  job = background_job.Job(
    "--processes=2",
    "--heartbeat_seconds=40",
    training=[
      "--config=tiny",
      f"--workdir={workdir}",
      "--config.watchdog_abort=true",
      *(f"--config.{name}={value}" for name, value in overrides.items()),
    ],
    xla_flags=background_job.QUICK_COMPILATION,
  )
  with job:
    # Process 0 carries the notice board: without it the others say so. That
    # is one of the faults of benchmarks.faults.
    seen = job.until(r"\[0\].* step \d+ is on disk")
    seen = job.until(r"\[0\].* step \d+/", seen)
    os.kill(job.pids()[1], signal.SIGSTOP)
    stopped = time.monotonic()
    seen = job.until("slowest: process 1 on .* is silent", seen)
    assert time.monotonic() - stopped < NAMED_SECONDS, job.text[-5000:]
    seen = job.until("ended first, with exit code 77", seen)
    seen = job.until("starting the job again", seen)
    job.until(r"\[0\].* resuming", seen)
    assert job.text.count("is silent: stopped, dead or cut off") == 1
