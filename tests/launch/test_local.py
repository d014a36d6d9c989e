"""Real processes: the same numbers, one stop for all, a dead one replaced."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from soundstream_jax import checkpoint, errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OVERRIDES = {"batch_size": 8, "mesh.data": -1}


class Job:
  """A launcher in the background, with its lines so far."""

  def __init__(self, *launcher_flags, training):
    flags = "--xla_backend_optimization_level=0"
    self.process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "soundstream_jax.launch.local",
        *launcher_flags,
        "--",
        *training,
      ],
      env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
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

  @property
  def text(self):
    return "".join(self.lines)

  def pids(self):
    """Of the newest attempt."""
    return [
      int(pid)
      for pid in re.findall(r"process ids ([\d, ]+)", self.text)[-1].split(",")
    ]

  def until(self, condition, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < deadline, self.text
      assert self.process.poll() is None, self.text
      time.sleep(0.05)

  def end(self, seconds=400):
    try:
      code = self.process.wait(timeout=seconds)
    finally:
      if self.process.poll() is None:
        for pid in self.pids():
          os.kill(pid, signal.SIGKILL)
        self.process.kill()
    self._reader.join(timeout=5)
    return code


@pytest.fixture(scope="module")
def training(small_overrides, voices, tmp_path_factory):
  """Returns a function (workdir, **overrides) -> training's flags."""
  cache = tmp_path_factory.mktemp("cache")

  def flags(workdir, **more):
    values = {
      **small_overrides,
      **OVERRIDES,
      "compilation_cache": cache,
      "data.sources": voices,
      **more,
    }
    return [
      "--config=tiny",
      f"--workdir={workdir}",
      *(f"--config.{name}={value}" for name, value in values.items()),
    ]

  return flags


@pytest.fixture(scope="module")
def whole(training, tmp_path_factory):
  """Six steps by two processes of four devices, saved after 3 and 6."""
  workdir = tmp_path_factory.mktemp("whole") / "run"
  job = Job("--processes=2", "--devices=4", training=training(workdir))
  assert job.end() == 0, job.text
  return workdir


def _losses(workdir):
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return {
    row["step"]: row["loss/reconstruction"]
    for row in rows
    if "loss/reconstruction" in row
  }


def _assert_same(one, other):
  assert one.keys() == other.keys()
  assert len(one) > 100
  for name, array in one.items():
    np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize(("processes", "devices"), [(1, 8), (4, 2)])
def test_a_job_goes_on_with_other_processes_and_the_same_batches(
  whole, training, tmp_path, processes, devices
):
  workdir = tmp_path / "run"
  shutil.copytree(whole, workdir)
  shutil.rmtree(workdir / "checkpoints/6")
  (workdir / "metrics.jsonl").unlink()
  job = Job(
    f"--processes={processes}",
    f"--devices={devices}",
    training=training(workdir),
  )
  assert job.end() == 0, job.text
  assert "resuming" in job.text
  expected, found = _losses(whole), _losses(workdir)
  assert list(found) == [4, 5, 6]
  # Another batch differs in the first digit; rounding grows with each step.
  for step, tolerance in ((4, 1e-5), (5, 1e-3), (6, 1e-2)):
    assert found[step] == pytest.approx(expected[step], rel=tolerance)


def test_sigterm_to_one_process_saves_and_stops_all(whole, training, tmp_path):
  workdir = tmp_path / "run"
  endless = training(
    workdir, num_steps=5000, **{"checkpoint.every_steps": 5000}
  )
  job = Job("--processes=2", "--devices=4", training=endless)
  job.until(lambda: "step 2/5000" in job.text)
  os.kill(job.pids()[1], signal.SIGTERM)
  assert job.end() == errors.EXIT_PREEMPTED, job.text
  (stopped,) = checkpoint.steps(workdir)
  assert stopped >= 2
  assert f"saving step {stopped}" in job.text
  finish = training(workdir, num_steps=stopped + 1)
  job = Job("--processes=2", "--devices=4", training=finish)
  assert job.end() == 0, job.text
  assert f"at step {stopped}" in job.text
  assert checkpoint.steps(workdir)[-1] == stopped + 1


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_named_and_the_job_starts_again(
  whole, training, saved_arrays, tmp_path, victim
):
  workdir = tmp_path / "run"
  job = Job(
    "--processes=2",
    "--devices=4",
    "--heartbeat_seconds=10",
    training=training(workdir),
  )
  job.until(lambda: "step 3/6" in job.text)
  os.kill(job.pids()[victim], signal.SIGKILL)
  assert job.end() == 0, job.text
  assert f"process {victim} ended first, killed by SIGKILL" in job.text
  assert "starting the job again (1 of 3)" in job.text
  _assert_same(saved_arrays(whole, 6), saved_arrays(workdir, 6))


def test_bad_input_is_not_tried_again(training, tmp_path):
  job = Job(
    "--processes=2", "--devices=1", training=training(tmp_path, batch_size=3)
  )
  assert job.end() == errors.EXIT_BAD_INPUT, job.text
  assert "batch_size=3 is not a multiple of the 2 devices" in job.text
  assert "starting the job again" not in job.text
