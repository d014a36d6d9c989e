"""launch.slurm without SLURM: the script, and what it refuses."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from soundstream_jax import launch

TEMPLATE = pathlib.Path(launch.__file__).with_name("slurm.sbatch")
PRESET = ["--config=tiny", "--config.data.sources=/data"]
TRAINING = [*PRESET, "--workdir=/runs/first"]

# Stand in for a cluster, whose srun ends with a code of $CODES for each start.
PROGRAMS = {
  "srun": 'printf "%s\\n" "$@" >srun.txt; set -- $CODES\n'
  'shift "$SLURM_RESTART_COUNT"; exit "$1"',
  "scontrol": 'echo "$@" >>scontrol.txt',
  "sbatch": 'echo "Submitted batch job 7"; cp "$1" submitted; exit "${REFUSE:-0}"',
}
JOB = {
  "SLURM_JOB_ID": "7",
  "SLURM_JOB_NAME": "soundstream",
  "SLURM_JOB_NODELIST": "n[0-1]",
  "SLURM_NTASKS": "2",
}


@pytest.fixture
def cluster(tmp_path):
  """Returns a function (command, **environment) -> finished process."""
  for name, text in PROGRAMS.items():
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/bash\n{text}\n")
    program.chmod(0o755)

  def run(*command, **environment):
    return subprocess.run(
      command,
      cwd=tmp_path,
      env={
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "XLA_FLAGS": "",
        **environment,
      },
      capture_output=True,
      text=True,
      check=False,
    )

  return run


def launcher(*flags, training=TRAINING):
  return [
    sys.executable,
    "-m",
    "soundstream_jax.launch.slurm",
    *flags,
    "--",
    *training,
  ]


def options_of(script):
  return dict(
    line.removeprefix("#SBATCH --").partition("=")[::2]
    for line in script.splitlines()
    if line.startswith("#SBATCH")
  )


def test_the_template_is_bash_and_has_what_a_preempted_job_needs():
  subprocess.run(["bash", "-n", TEMPLATE], check=True)
  options = options_of(TEMPLATE.read_text())
  assert options["signal"] == "TERM@120"
  assert options["open-mode"] == "append"
  assert "requeue" in options


def test_flags_replace_the_options_of_the_template(cluster):
  done = cluster(
    *launcher(
      "--nodes=4",
      "--tasks_per_node=8",
      "--time=2-00:00:00",
      "--save_seconds=300",
      "--name=first",
      "--sbatch=partition=gpu",
      "--sbatch=gpus-per-node=8",
      "--sbatch=exclusive",
      "--dry_run",
      training=[*TRAINING, "--config.batch_size=32"],
    )
  )
  assert (done.returncode, done.stderr) == (0, "")
  options = options_of(done.stdout)
  assert options == options_of(TEMPLATE.read_text()) | {
    "nodes": "4",
    "ntasks-per-node": "8",
    "time": "2-00:00:00",
    "signal": "TERM@300",
    "job-name": "first",
    "partition": "gpu",
    "gpus-per-node": "8",
    "exclusive": "",
  }


@pytest.mark.parametrize("time", ["4", "3:01", "1:00:00", "1-0", "0-0:04"])
def test_a_time_that_leaves_room_to_train_is_taken_as_it_is(cluster, time):
  script = cluster(*launcher(f"--time={time}", "--dry_run")).stdout
  assert options_of(script)["time"] == time


def test_what_runs_is_the_template(cluster):
  """Nothing but options, PYTHON, RESTARTS and the arguments is filled in."""
  script = cluster(*launcher("--restarts=5", "--dry_run")).stdout
  code = TEMPLATE.read_text().partition("\nset -u\n")[2]
  head, _, found = script.partition("\nset -u\n")
  assert found == code
  lines = [n for n in head.splitlines() if n and not n.startswith("#")]
  assert lines == [
    f"PYTHON={sys.executable}",
    "RESTARTS=5",
    f"set -- {' '.join(TRAINING)}",
  ]


def test_what_only_the_cluster_knows_is_left_to_it(cluster):
  """As the number of tasks, or of devices that XLA is told to make."""
  known = cluster(*launcher("--nodes=3", "--dry_run"))
  assert known.returncode == 2
  unknown = ("--sbatch=ntasks=8", "--dry_run")
  assert cluster(*launcher("--nodes=3", *unknown)).returncode == 0
  more = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
  fsdp = [*TRAINING, "--config.mesh.fsdp=4"]
  assert cluster(*launcher("--dry_run", training=fsdp)).returncode == 2
  done = cluster(*launcher("--dry_run", training=fsdp), **more)
  assert done.returncode == 0, done.stderr


def test_a_dry_run_writes_nothing(cluster, tmp_path):
  before = sorted(tmp_path.iterdir())
  assert cluster(*launcher("--dry_run")).returncode == 0
  assert sorted(tmp_path.iterdir()) == before


def test_the_script_is_written_and_submitted(cluster, tmp_path):
  done = cluster(*launcher("--name=first"))
  assert done.stdout == "Submitted batch job 7\n", done.stderr
  script = (tmp_path / "first.sbatch").read_text()
  assert (tmp_path / "submitted").read_text() == script
  # A second time it replaces what it wrote.
  assert cluster(*launcher("--name=first", "--nodes=4")).returncode == 0
  assert "--nodes=4" in (tmp_path / "first.sbatch").read_text()


def test_every_task_gets_the_arguments_as_they_were_written(cluster, tmp_path):
  odd = [
    "--config.loss.spectral_windows=(256, 512)",
    "--config.data.rooms=$(touch a) `b` 'c' \"d\"\n#SBATCH",
  ]
  done = cluster(*launcher("--dry_run", training=[*TRAINING, *odd]))
  script = tmp_path / "script"
  script.write_text(done.stdout)
  assert "gpus" not in options_of(done.stdout)
  ended = cluster("bash", script, **JOB, CODES="0", SLURM_RESTART_COUNT="0")
  assert ended.returncode == 0, ended.stderr
  words = (tmp_path / "srun.txt").read_text()
  program = "\n".join(
    [sys.executable, "-u", "-m", "soundstream_jax.train", *TRAINING, *odd]
  )
  assert words.endswith(program + "\n")
  assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
  ("codes", "last"),
  [
    ("0", 0),
    ("2", 2),
    ("76", 76),
    ("75 75 75 75 75 0", 0),
    ("137 134 0", 0),
    ("137 1 143", 143),
    ("1 1 75 1 1 75 1 1 1", 1),
    ("137 2", 2),
  ],
)
def test_a_job_starts_again_until_its_end_is_final(
  cluster, tmp_path, codes, last
):
  starts = len(codes.split())
  for start in range(starts):
    done = cluster(
      "bash",
      TEMPLATE,
      *TRAINING,
      **JOB,
      CODES=codes,
      RESTARTS="2",
      SLURM_RESTART_COUNT=str(start),
    )
    requeues = tmp_path / "scontrol.txt"
    asked = requeues.read_text().splitlines() if requeues.exists() else []
    if start < starts - 1:
      assert asked == ["requeue 7"] * (start + 1), done.stdout
  assert done.returncode == last
  assert len(asked) == starts - 1
  assert f"exit code {last}" in done.stdout
  assert list(tmp_path.glob("*.failures")) == []


@pytest.mark.parametrize(
  ("flags", "training", "line"),
  [
    ([], [], "nothing to run. Put training's flags behind --"),
    ([], ["--config=tiny"], "training has no --workdir."),
    ([], ["--workdir=gs://b/r"], "--workdir=gs://b/r is an address, not a"),
    (["--name=a b"], TRAINING, "--name=a b is not a DNS label."),
    (["--time=soon"], TRAINING, "--time=soon is not a time."),
    (["--time=3"], TRAINING, "--time=3 is 180 s, and the job is asked to"),
    (["--time=2:59"], TRAINING, "--time=2:59 is 179 s,"),
    (["--time=0-0:03"], TRAINING, "--time=0-0:03 is 180 s,"),
    (["--time=1:00:00", "--save_seconds=3540"], TRAINING, "--time=1:00:00 is"),
    (["--sbatch=a=b c"], TRAINING, "--sbatch=a=b c is not an option of sbatch"),
    (["--sbatch=--x"], TRAINING, "--sbatch=--x is not an option of sbatch."),
    (["--sbatch=nodes=3"], TRAINING, "--sbatch=nodes=3: nodes has a flag of"),
    (["--script=bin"], TRAINING, "--script=bin is a folder."),
    (["--script=bin/srun"], TRAINING, "--script=bin/srun exists and was not"),
    (["--nodse=3"], TRAINING, "there is no flag --nodse."),
    # What training itself would refuse, on the nodes.
    ([], ["--config=tinny", *TRAINING[1:]], "--config=tinny is not a preset."),
    (
      [],
      [*TRAINING, "--config.batchsize=3"],
      "--config.batchsize: there is no",
    ),
    ([], [*TRAINING, "--workdirr=x"], "there is no flag --workdirr. Did you"),
    (["--config=tiny"], TRAINING, "--config stands before --,"),
    (
      ["--nodes=3"],
      TRAINING,
      "batch_size=4 is not a multiple of the 3 devices",
    ),
    (
      ["--nodes=2", "--tasks_per_node=4"],
      TRAINING,
      "batch_size=4 is not a multiple of the 8 devices. Use 8.",
    ),
    (
      ["--nodes=4"],
      [*TRAINING, "--config.mesh.data=2"],
      "mesh.data=2, mesh.fsdp=1 do not cover the 4 devices.",
    ),
  ],
)
def test_bad_input_is_one_line_and_submits_nothing(
  cluster, tmp_path, flags, training, line
):
  done = cluster(*launcher(*flags, training=training))
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith(f"error: {line}")
  assert done.stderr.count("\n") == 1
  assert not (tmp_path / "submitted").exists()


def test_a_refusal_of_sbatch_and_its_absence_are_one_line(cluster, tmp_path):
  done = cluster(*launcher(), REFUSE="1")
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith("error: sbatch refuses soundstream.sbatch")
  (tmp_path / "bin/sbatch").unlink()
  done = cluster(*launcher(), PATH="/nowhere")
  assert done.returncode == 2
  assert re.search(r"there is no command sbatch here", done.stderr)
  assert shlex.split(done.stderr)[-2:] == ["sbatch", "soundstream.sbatch"]
