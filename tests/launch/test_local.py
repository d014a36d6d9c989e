"""Real processes: the same numbers, one stop for all, a dead one replaced."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import together

from benchmarks.faults import background_job
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

OVERRIDES = {"batch_size": 8, "mesh.data": -1}


def _job(*launcher_flags, training):
  return background_job.Job(
    *launcher_flags,
    training=training,
    xla_flags=background_job.QUICK_COMPILATION,
  )


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
  two = ("--processes=2", "--devices=4")
  with _job(*two, training=training(workdir)) as job:
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
  shape = (f"--processes={processes}", f"--devices={devices}")
  with _job(*shape, training=training(workdir)) as job:
    assert job.end() == 0, job.text
    assert "resuming" in job.text
  expected, found = _losses(whole), _losses(workdir)
  assert list(found) == [4, 5, 6]
  # Another batch differs in the first digit; rounding grows with each step.
  for step, tolerance in ((4, 1e-5), (5, 1e-3), (6, 1e-2)):
    assert found[step] == pytest.approx(expected[step], rel=tolerance)


def test_sigterm_to_one_process_saves_and_stops_all(whole, training, tmp_path):
  workdir = tmp_path / "run"
  two = ("--processes=2", "--devices=4")
  endless = training(
    workdir, num_steps=5000, **{"checkpoint.every_steps": 5000}
  )
  with _job(*two, training=endless) as job:
    job.until("step 2/5000")
    os.kill(job.pids()[1], signal.SIGTERM)
    assert job.end() == errors.EXIT_PREEMPTED, job.text
    (stopped,) = folder_lib.steps(workdir)
    assert stopped >= 2
    assert job.text.count(f"asked to stop: saving step {stopped}") == 2
  finish = training(workdir, num_steps=stopped + 1)
  with _job(*two, training=finish) as job:
    assert job.end() == 0, job.text
    assert f"at step {stopped}" in job.text
  assert folder_lib.steps(workdir)[-1] == stopped + 1


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_named_and_the_job_starts_again(
  whole, training, saved_arrays, tmp_path, victim
):
  workdir = tmp_path / "run"
  with _job(
    "--processes=2",
    "--devices=4",
    "--heartbeat_seconds=10",
    training=training(workdir),
  ) as job:
    job.until("step 3/6")
    os.kill(job.pids()[victim], signal.SIGKILL)
    assert job.end() == 0, job.text
    assert f"process {victim} ended first, killed by SIGKILL" in job.text
    assert "starting the job again (1 of 3)" in job.text
  _assert_same(saved_arrays(whole, 6), saved_arrays(workdir, 6))


@pytest.mark.parametrize("victim", [0, 1])
def test_the_survivor_of_a_dead_peer_ends_by_itself(
  whole, training, tmp_path, victim
):
  """Without a launcher that would end it."""
  heartbeat = 10
  endless = training(
    tmp_path / "run", num_steps=5000, **{"checkpoint.every_steps": 5000}
  )
  port = together.free_port()
  flags = (
    "--xla_force_host_platform_device_count=4 "
    f"{background_job.QUICK_COMPILATION}"
  )
  processes = [
    subprocess.Popen(
      [
        sys.executable,
        "-m",
        "soundstream_jax.train",
        *endless,
        f"--coordinator=127.0.0.1:{port}",
        "--num_processes=2",
        f"--process_id={index}",
        f"--heartbeat_seconds={heartbeat}",
      ],
      env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    for index in range(2)
  ]
  try:
    metrics = tmp_path / "run/metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.is_file() and metrics.stat().st_size):
      assert time.monotonic() < deadline
      time.sleep(0.1)
    processes[victim].kill()
    code = processes[1 - victim].wait(timeout=heartbeat + 10)
    assert code != 0
  finally:
    for process in processes:
      process.kill()
      process.wait()


def test_bad_input_is_not_tried_again(training, tmp_path):
  """What the launcher cannot know: here, what a folder of data holds."""
  (tmp_path / "data").mkdir()
  wrong = training(tmp_path, **{"data.sources": tmp_path / "data"})
  with _job("--processes=2", "--devices=1", training=wrong) as job:
    assert job.end() == errors.EXIT_BAD_INPUT, job.text
    assert f"{tmp_path / 'data'} is empty" in job.text
    assert "starting the job again" not in job.text
