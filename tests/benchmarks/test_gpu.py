"""Laws of `benchmarks.gpu` as a command: whole on a CPU, killed, and gone on with."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Little to compile.
SMALL = (
  "model.strides=[8,8]",
  "data.crop_samples=6400",
  "loss.spectral_windows=[256]",
)


def arguments(folder, *more):
  return [
    *(sys.executable, "-m", "benchmarks.gpu", "--device=cpu"),
    *("--preset=tiny", "--batch=2", "--layers=2", "--steps=2", "--form=plain"),
    "--minutes=14",
    *(f"--override={value}" for value in SMALL),
    *(f"--json={folder}/found.json", f"--cache={folder}/cache", *more),
  ]


def run(folder, *more):
  return subprocess.run(
    arguments(folder, *more), cwd=ROOT, capture_output=True, text=True
  )


def entries(folder):
  (found,) = json.loads((folder / "found.json").read_text())["runs"]
  return found["entries"]


def test_without_a_gpu_it_says_so_in_one_line_and_writes_no_results(tmp_path):
  done = run(tmp_path, "--device=cuda", "--minutes=1")
  assert done.returncode == 2 and done.stderr.count("\n") == 1
  assert "pass --device=cpu" in done.stderr
  assert not (tmp_path / "found.json").exists()


def test_what_is_no_json_is_refused_before_anything_is_started(tmp_path):
  done = run(tmp_path, "--override=form=plain")
  assert done.returncode == 2 and "is no JSON" in done.stderr
  assert list(tmp_path.iterdir()) == []


def workers_of(folder):
  """Returns the numbers of processes that measure with a folder's cache."""
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(OSError):
      if f"{folder}/cache" in path.read_text(errors="replace"):
        found.append(int(path.parent.name))
  return found


def installed():
  return {one.name for one in importlib.metadata.distributions()}


@pytest.mark.slow
def test_it_runs_whole_and_goes_on_with_what_a_kill_has_left(tmp_path):
  kept = ROOT / "benchmarks" / "results_gpu.json"
  before = kept.read_bytes() if kept.exists() else None
  killed = subprocess.Popen(
    arguments(tmp_path, "--most=1"), cwd=ROOT, stdout=subprocess.PIPE, text=True
  )
  for line in killed.stdout:
    if "peaks" in line:
      break
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  until = time.monotonic() + 20
  while workers_of(tmp_path):
    assert time.monotonic() < until, "the worker has outlived its command"
    time.sleep(0.1)
  first = entries(tmp_path)
  assert first["peaks"]["done"] and not first.get("step/plain", {}).get("done")

  done = run(tmp_path, "--most=1")
  assert (done.returncode, done.stderr) == (0, "")
  found = entries(tmp_path)
  assert found["peaks"] == first["peaks"]
  assert {"step/plain", "trace/plain", "check/reconstruction", "kmeans"} <= set(
    found
  )
  kinds = {name.split("/")[0] for name in found}
  assert {"question", "layer", "pytorch"} <= kinds
  failed = {name for name, entry in found.items() if "error" in entry}
  # PyTorch may be missing, and crashes on some CPUs: results like any other.
  assert {name for name in failed if not name.startswith("pytorch")} <= (
    {"check/reconstruction"} if "torch" not in installed() else set()
  )
  assert all(entry["done"] for entry in found.values())
  assert found["step/plain"]["seconds"] > 0
  assert found["trace/plain"]["modules_ms"]
  assert found["check/losses"]["apart"] < 0.1

  shown = run(tmp_path, "--show")
  assert shown.returncode == 0
  for part in ("| step/plain ", "| question ", "| module ", "| layer "):
    assert part in shown.stdout
  start = time.monotonic()
  again = run(tmp_path, "--most=1")
  assert again.returncode == 0 and entries(tmp_path) == found
  assert time.monotonic() - start < 30
  assert (kept.read_bytes() if kept.exists() else None) == before
  assert os.path.isdir(tmp_path / "cache" / "programs")
