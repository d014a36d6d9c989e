"""A real SLURM of two nodes: jobs that stop, resume and end as they should."""

import json
import os
import pathlib
import re
import signal
import sys

import pytest

from soundstream_jax import launch

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

TEMPLATE = pathlib.Path(launch.__file__).with_name("slurm.sbatch")
STEPS = 100
OVERRIDES = {
  "batch_size": 4,
  "mesh.data": -1,
  "num_steps": STEPS,
  "checkpoint.every_steps": 50,
}


class Job:
  """A job of launch.slurm, with its log so far."""

  def __init__(self, slurm, folder, workdir, training, *flags):
    self.slurm, self.folder, self.workdir = slurm, folder, workdir
    done = slurm.run(
      sys.executable,
      "-m",
      "soundstream_jax.launch.slurm",
      "--nodes=2",
      "--cpus_per_task=1",
      "--time=20",
      *flags,
      "--",
      *training,
      cwd=folder,
    )
    self.number = int(re.search(r"job (\d+)", done.stdout).group(1))

  @property
  def text(self):
    log = self.folder / f"soundstream-{self.number}.log"
    return log.read_text() if log.exists() else ""

  def until(self, text):
    self.slurm.wait(lambda: text in self.text, what=f"{text!r} in {self.text}")

  def end(self):
    """Returns (state, exit code)."""

    def state():
      return self.slurm.job(self.number)["JobState"]

    self.slurm.wait(
      lambda: state() in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"),
      what=f"the end of {self.text}",
    )
    code = self.slurm.job(self.number)["ExitCode"].split(":")[0]
    return state(), int(code)

  def losses(self):
    lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
    return {
      row["step"]: row["loss/reconstruction"]
      for row in map(json.loads, lines)
      if "loss/reconstruction" in row
    }


@pytest.fixture(scope="module")
def submit(slurm, small_overrides, voices, tmp_path_factory):
  """Returns a function (*launcher flags, **overrides) -> Job."""
  cache = tmp_path_factory.mktemp("cache")

  def make(*flags, **more):
    folder = tmp_path_factory.mktemp("job")
    workdir = folder / "run"
    values = {
      **small_overrides,
      **OVERRIDES,
      "compilation_cache": cache,
      "data.sources": voices,
      **more,
    }
    training = [
      "--config=tiny",
      f"--workdir={workdir}",
      *(f"--config.{name}={value}" for name, value in values.items()),
    ]
    return Job(slurm, folder, workdir, training, *flags)

  return make


@pytest.fixture(scope="module")
def whole(submit):
  """The losses of a job that nobody stops."""
  job = submit()
  assert job.end() == ("COMPLETED", 0), job.text
  assert "start 1: 2 tasks of 1 CPUs on " in job.text
  assert "2 processes; batch 4 examples, 2 per process" in job.text
  assert "requeue" not in job.text
  losses = job.losses()
  assert list(losses) == list(range(1, STEPS + 1))
  return losses


def test_a_preempted_job_goes_on_to_the_loss_of_an_uninterrupted_one(
  slurm, submit, whole
):
  job = submit()
  job.until("step 2/")
  slurm.run(
    "sbatch",
    "--partition=high",
    "--nodes=2",
    "--exclusive",
    f"--output={job.folder}/urgent.log",
    "--wrap=sleep 1",
  )
  assert job.end() == ("COMPLETED", 0), job.text
  assert slurm.job(job.number)["Restarts"] == "1"
  # Every process says it, and all the same.
  (stopped,) = {
    int(s) for s in re.findall(r"stop: saving step (\d+)", job.text)
  }
  assert 2 <= stopped < STEPS
  assert "training has saved and stopped: requeue" in job.text
  assert f"at step {stopped}" in job.text
  assert "start 2:" in job.text
  losses = job.losses()
  assert list(losses) == list(whole)
  assert losses[STEPS] == pytest.approx(whole[STEPS], rel=1e-5)


def test_a_job_with_a_killed_process_starts_again_from_its_checkpoint(
  slurm, submit, whole
):
  job = submit("--restarts=1")
  saved = job.workdir / "checkpoints/50"
  slurm.wait(saved.exists, what=f"{saved}\n{job.text}")
  os.kill(_task(job, rank=1), signal.SIGKILL)
  assert job.end() == ("COMPLETED", 0), job.text
  assert "training failed with exit code 137: requeue (1 of 1)" in job.text
  assert "at step 50" in job.text
  assert list(job.folder.glob("*.failures")) == []
  assert job.losses()[STEPS] == pytest.approx(whole[STEPS], rel=1e-5)


def _task(job, *, rank):
  """Returns the process id of one task of training."""
  for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
      words = (process / "cmdline").read_bytes().decode().split("\0")
      environment = (process / "environ").read_bytes().decode().split("\0")
    except OSError:
      continue
    # srun has the same words behind its own.
    if (
      words[0] == sys.executable
      and f"--workdir={job.workdir}" in words
      and f"SLURM_PROCID={rank}" in environment
    ):
      return int(process.name)
  raise AssertionError(f"no task {rank}: {job.text}")


def test_bad_input_ends_a_job_at_once(submit):
  """What the launcher cannot see from where it is."""
  job = submit(**{"data.sources": "/none/such"})
  assert job.end() == ("FAILED", 2)
  assert "error: data.sources: /none/such does not exist" in job.text
  assert "requeue" not in job.text


JOIN = """
from soundstream_jax.devices import joining
joining.initialize()
import jax
print(jax.process_index(), jax.process_count())
"""


def test_a_shell_in_an_allocation_is_alone_and_tasks_of_srun_are_not(slurm):
  allocate = ["salloc", "--nodes=2", "--ntasks-per-node=1"]
  program = [sys.executable, "-c", JOIN]
  alone = slurm.run(*allocate, *program, timeout=60)
  assert alone.stdout.split() == ["0", "1"]
  together = slurm.run(*allocate, "srun", *program, timeout=60)
  lines = [n for n in together.stdout.splitlines() if n[0].isdigit()]
  assert sorted(lines) == ["0 2", "1 2"]


# Stands in for python: saves when asked, and is done the second time.
PROGRAM = """\
#!/bin/bash
[ -z "${SLURM_RESTART_COUNT:-}" ] || exit 0
trap 'exit 75' TERM
echo "$@"
sleep 100 &
wait
"""


def test_slurm_asks_to_save_before_the_time_limit_and_the_template_requeues(
  slurm, tmp_path
):
  program = tmp_path / "python"
  program.write_text(PROGRAM)
  program.chmod(0o755)
  done = slurm.run(
    "sbatch",
    "--nodes=2",
    "--time=1",
    "--signal=TERM@55",
    f"--export=ALL,PYTHON={program}",
    TEMPLATE,
    "--config.data.sources=a  b",
    cwd=tmp_path,
  )
  number = int(done.stdout.split()[-1])
  slurm.wait(
    lambda: slurm.job(number)["JobState"] == "COMPLETED", what="the end"
  )
  text = (tmp_path / f"soundstream-{number}.log").read_text()
  for task in (0, 1):
    words = "-u -m soundstream_jax.train --config.data.sources=a  b"
    assert f"{task}: {words}" in text
  assert text.count("training has saved and stopped: requeue") == 1
  assert "start 2:" in text
  assert "training ended with exit code 0" in text
