"""Which code ran, and on what."""

import functools
import os
import pathlib
import platform
import shutil
import subprocess

import soundstream_jax


@functools.cache
def git_revision() -> str:
  """Returns the checkout's commit, with '+' if files differ; else a version."""
  file = pathlib.Path(soundstream_jax.__file__)
  git = ("git", "-C", str(file.parent))
  # An environment may lie in a checkout of something else.
  if not _said(*git, "ls-files", file.name):
    return f"soundstream_jax {soundstream_jax.__version__}"
  commit = _said(*git, "rev-parse", "HEAD")
  changed = _said(*git, "status", "--porcelain", "--untracked-files=no")
  return commit + "+" * bool(changed)


@functools.cache
def hardware() -> str:
  """Names this machine's processors, as in '2 x Xeon, 1 x NVIDIA H200'."""
  found = [f"{_cpus()} x {_processor()}"]
  if shutil.which("nvidia-smi"):
    gpus = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    gpus = gpus.splitlines()
    found += [f"{gpus.count(name)} x {name}" for name in sorted(set(gpus))]
  if tpu := os.environ.get("TPU_ACCELERATOR_TYPE"):
    found.append(f"TPU {tpu}")
  nodes = os.environ.get("SLURM_JOB_NUM_NODES", "1")
  return ("" if nodes == "1" else f"{nodes} nodes of ") + ", ".join(found)


def _cpus() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _processor() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  names = [
    line.partition(":")[2].strip() for line in lines if "model name" in line
  ]
  return next(iter(names), "") or platform.processor() or platform.machine()


def _said(*command: str) -> str:
  """Returns what a command printed; '' where it cannot be run."""
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, check=False, timeout=20
    )
  except (OSError, ValueError, subprocess.TimeoutExpired):
    return ""
  return done.stdout.strip() if done.returncode == 0 else ""
