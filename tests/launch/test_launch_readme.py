"""launch/README.md: its commands work, its table is whole, its files exist."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from benchmarks.faults import background_job

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "launch/README.md").read_text()


def commands():
  blocks = "\n".join(re.findall(r"```bash\n(.*?)```", TEXT, re.S))
  return [line for line in blocks.splitlines() if line.strip()]


@pytest.mark.slow
def test_every_command_that_can_run_here_does(tmp_path, small_overrides):
  (tmp_path / "launch").symlink_to(ROOT / "launch")
  small = {**small_overrides, "mesh.data": -1, "num_steps": 4}
  ran = 0
  for command in commands():
    if "launch.local" in command:
      command += "".join(f" '--config.{k}={v}'" for k, v in small.items())
    done = subprocess.run(
      ["bash", "-c", command],
      cwd=tmp_path,
      env={
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "XLA_FLAGS": background_job.QUICK_COMPILATION,
      },
      capture_output=True,
      text=True,
      timeout=400,
      check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    ran += 1
  assert ran == 7
  assert (tmp_path / "runs/first/checkpoints/4").is_dir()


def test_the_readme_names_only_files_that_exist():
  for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
    assert (ROOT / "launch" / target).exists(), target
  for path in re.findall(r"`((?:tests|launch)/[\w/.]+)`", TEXT):
    assert (ROOT / path).exists(), path


def test_every_launcher_has_its_row():
  folder = ROOT / "launch"
  # Launchers are what passes training's flags on.
  found = {
    f"launch.{path.stem}"
    for path in folder.glob("*.py")
    if "def _launch(" in path.read_text()
  } | {f"launch/{path.name}" for path in folder.glob("*.sh")}
  rows = re.findall(r"^\| [\w ]+?: `([^ `]+)[^`]*` \|", TEXT, re.M)
  assert set(rows) == found
  assert {"launch.local", "launch.slurm", "launch.gke"} < found
  assert "launch/tpu_vm.sh" in found
  for kind in ("--topology", "--gpu"):  # one command, two platforms
    assert f"`launch.gke {kind}` |" in TEXT
