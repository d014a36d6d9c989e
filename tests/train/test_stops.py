"""A stop at any moment ends in a saved step; an error ends all processes."""

import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import disturbed_run
import pytest
import together

from benchmarks.faults import background_job
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.train import loop

# Steps without discriminators compile in a third of the time.
OVERRIDES = {
  "discriminator.start_step": 1_000,
  "checkpoint.every_steps": 3,
  "evaluation.every_steps": 4,
}
STEPS = 6
BEFORE = ("data", "compile", "first batch", "step", "evaluation", "save")
MOMENTS = (*BEFORE, "last step", "end")


@pytest.fixture(scope="module")
def config(small_config, voices):
  return small_config(**{"data.sources": voices, **OVERRIDES})


@pytest.fixture(scope="module")
def begun(config, tmp_path_factory):
  """A workdir of two steps."""
  workdir = tmp_path_factory.mktemp("begun") / "run"
  assert loop.train(dataclasses.replace(config, num_steps=2), workdir) == 0
  return workdir


@pytest.fixture
def undisturbed(monkeypatch):
  """Puts back what a test disturbs."""
  for module, name, _ in disturbed_run.MOMENTS.values():
    owner, name = disturbed_run.find(module, name)
    monkeypatch.setattr(owner, name, getattr(owner, name))


def _some_are_slow(*moments):
  """Moments before, amid and after what is computed; the others are slow."""
  few = ("k-means", "restore", "step", "save")
  marks = {m: () if m in few else pytest.mark.slow for m in moments}
  found = [pytest.param(m, marks=marks[m]) for m in moments]
  return pytest.mark.parametrize("moment", found)


@_some_are_slow("k-means", *MOMENTS)
def test_a_stop_of_a_fresh_run_ends_in_a_saved_step(
  moment, config, undisturbed, tmp_path
):
  disturbed_run.disturb(moment)
  workdir = tmp_path / "run"
  assert loop.train(config, workdir) == errors.EXIT_PREEMPTED
  saved = folder_lib.steps(workdir)
  if moment in ("last step", "end"):
    assert saved[-1] == STEPS
  else:
    assert saved[-1] < STEPS
  assert not (workdir / "running.json").exists()


@_some_are_slow("restore", *MOMENTS)
def test_a_stop_of_a_resumed_run_ends_in_a_saved_step(
  moment, config, begun, undisturbed, tmp_path
):
  workdir = tmp_path / "run"
  shutil.copytree(begun, workdir)
  disturbed_run.disturb(moment)
  assert loop.train(config, workdir) == errors.EXIT_PREEMPTED
  saved = folder_lib.steps(workdir)
  if moment in ("restore", "data", "compile", "first batch"):
    assert saved == [2]  # nothing was computed that could be lost
  else:
    assert 2 < saved[-1] <= STEPS


class _Process(subprocess.Popen):
  """A process and, in a file, what it says.

  A pipe would lose some of it: lines that Python read ahead are in its buffer,
  where `communicate` does not look.
  """

  def __init__(self, argv, path, **options):
    self._path = path
    with path.open("wb") as file:
      super().__init__(argv, stderr=file, **options)

  def said(self):
    return self._path.read_text()

  def says(self, text):
    """Waits until it has said the text."""
    ended = False
    while text not in self.said():
      assert not ended, self.said()
      ended = self.poll() is not None
      time.sleep(0.01)


def _start(moment, hit, workdir, overrides, *, processes=2, odd=()):
  """Starts a job, of which the last process has the flags `odd` too."""
  address = f"127.0.0.1:{together.free_port()}"
  place = [f"--coordinator={address}", f"--num_processes={processes}"]
  return [
    _Process(
      [
        sys.executable,
        disturbed_run.__file__,
        moment,
        str(hit),
        "--config=tiny",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in overrides.items()),
        *(odd if index == processes - 1 else ()),
        *([*place, f"--process_id={index}"] if processes > 1 else ()),
      ],
      workdir.parent / f"said{index}.txt",
      env={
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": background_job.QUICK_COMPILATION,
      },
    )
    for index in range(processes)
  ]


def _end(processes, *, seconds=200):
  """Waits for the processes; returns [(exit code, what it said)]."""
  try:
    return [(p.wait(timeout=seconds), p.said()) for p in processes]
  finally:
    for process in processes:
      process.kill()


@pytest.fixture(scope="module")
def overrides(small_overrides, voices, tmp_path_factory):
  return {
    **small_overrides,
    **OVERRIDES,
    "data.sources": voices,
    "mesh.data": -1,
    "compilation_cache": tmp_path_factory.mktemp("cache"),
  }


@pytest.mark.parametrize("hit", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_anything_is_loaded_ends_in_a_saved_step(
  hit, overrides, tmp_path
):
  workdir = tmp_path / "run"
  (process,) = _start("none", -1, workdir, overrides, processes=1)
  # Between the handler and jax; a process that has no handler yet dies of it.
  time.sleep(0.35)
  while "StopRequest" not in _threads(process.pid):
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(hit)
  ((code, said),) = _end([process])
  assert code == errors.EXIT_PREEMPTED, said
  assert folder_lib.steps(workdir) == [0]


def _threads(pid):
  """What the process has installed, as far as the system tells."""
  status = pathlib.Path(f"/proc/{pid}/status").read_text()
  caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
  both = 1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1)
  return "StopRequest" if caught & both == both else ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stop_of_one_of_two_ends_both_at_the_same_saved_step(
  overrides, tmp_path
):
  """A row: the moment, which process is hit, and steps that are there then."""
  workdir = tmp_path / "run"
  lowest = 0
  for moment, hit in (
    ("start", 1),
    ("k-means", 0),
    ("restore", 1),
    ("compile", 1),
    ("step", 1),
    ("evaluation", 0),
    ("last step", 1),
    ("end", 0),
  ):
    if moment == "k-means":
      shutil.rmtree(workdir)
    if moment in ("last step", "end"):  # so that there is one to be done
      last = workdir / "checkpoints" / str(STEPS)
      shutil.rmtree(last, ignore_errors=True)
    ends = _end(_start(moment, hit, workdir, overrides))
    codes, text = [code for code, _ in ends], "\n".join(t for _, t in ends)
    assert codes == [errors.EXIT_PREEMPTED] * 2, (moment, text[-4000:])
    assert f"disturbed: {moment}" in text
    saved = folder_lib.steps(workdir)
    assert saved, moment
    assert saved[-1] >= lowest
    lowest = saved[-1]
    if moment in ("start", "k-means", "restore", "compile"):
      assert lowest == 0, moment
  assert lowest == STEPS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
  ("moment", "seconds"),
  # With flags the other one may still be starting, and is waited for.
  [("flags", 40), ("step", 15)],
)
def test_an_error_in_one_process_ends_all_of_them_and_is_named(
  moment, seconds, overrides, tmp_path
):
  processes = _start(f"error:{moment}", 1, tmp_path / "run", overrides)
  processes[1].says(f"disturbed: {moment}")
  begun = time.monotonic()
  ends = _end(processes)
  assert time.monotonic() - begun < seconds
  assert [code for code, _ in ends] == [1, 1]
  assert "ZeroDivisionError: a bug of ours" in ends[1][1]
  lines = [line for line in ends[0][1].splitlines() if "error: " in line]
  name = socket.gethostname()
  assert lines == [
    f"error: process 1 of {name} ended: ZeroDivisionError: a bug of ours"
  ]


@pytest.mark.slow
def test_processes_that_are_told_differently_end_with_the_difference(
  overrides, tmp_path
):
  odd = ["--config.seed=5"]
  ends = _end(_start("none", -1, tmp_path / "run", overrides, odd=odd))
  assert [code for code, _ in ends] == [errors.EXIT_BAD_INPUT] * 2
  line = "process 1 was given another configuration than process 0: seed: 0 "
  assert all(f"{line}there, 5 here" in text for _, text in ends)
  assert not (tmp_path / "run/checkpoints").exists()
