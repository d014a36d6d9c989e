"""Sweeps for clusters, without one: what is submitted, and what tasks run."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest
import without_flags
import yaml

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.launch.sweep import events, plan, points, work
from soundstream_jax.settings import presets, sweeps

gke = without_flags.load("launch.sweep.gke")
slurm = without_flags.load("launch.sweep.slurm")

PROGRAMS = {
  "sbatch": 'pwd >folder; cp "$1" submitted; echo "Submitted batch job 7"',
  "squeue": "echo 7_0; echo 9",
  "kubectl": 'echo "$1 $(basename "${@: -1}")" >>"$KUBECTL"; '
  'echo "jobset/$1"; exit "${REFUSE:-0}"',
}
OPTIONS = {"job-name": "soundstream", "nodes": "1"}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
  """Stands in for a cluster's commands."""
  for name, text in PROGRAMS.items():
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/bash\n{text}\n")
    program.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
  monkeypatch.setenv("KUBECTL", str(tmp_path / "kubectl.txt"))
  monkeypatch.setattr(slurm.slurm_lib, "options", lambda: dict(OPTIONS))
  monkeypatch.setattr(slurm.slurm_lib, "restarts", lambda: None)
  monkeypatch.setattr(slurm.slurm_lib, "name", lambda: "soundstream")
  monkeypatch.setattr(
    gke.gke_lib, "volume", lambda: ({}, str(tmp_path / "out"))
  )
  monkeypatch.setattr(
    gke.gke_lib,
    "jobset",
    lambda words, config, *, name, module: {
      "name": name,
      "args": [*module, *words],
    },
  )
  return tmp_path


@pytest.fixture
def planned(tmp_path):
  """Three seeds, in a folder with a name that a shell would read."""
  given = presets.Given(None, [("data.sources", "/a b;$(c)")])
  sweep = sweeps.load("seeds")
  out = tmp_path / "out"
  return plan.Plan(
    sweep,
    "tiny",
    out,
    tuple(
      plan.Planned(
        point,
        out / f"points/{point.name} 'x'",
        ("--config=tiny", "--config.data.sources=/a b;$(c)", *point.words()),
      )
      for point in points.resolve(sweep, "tiny", given)
    ),
    ("--sounds=1", "--step=a b"),
    {},
  )


def test_a_task_of_the_array_finds_its_own_words(cluster, planned):
  assert "job 7" in slurm.launch(planned, planned.points, at_once=2)
  folder = planned.out / "slurm"
  script = (folder / "submitted").read_text()
  assert "#SBATCH --array=0-2%2\n" in script
  assert "#SBATCH --output=%x-%A_%a.log\n" in script
  assert (folder / "folder").read_text().strip() == str(folder)
  # SLURM starts tasks in its own folder; relative paths are the caller's.
  show = (
    'set -u; . "$1"; printf "%s\\0" "$@" --- "${then[@]}" --- "$events" "$PWD"'
  )
  for task, each in enumerate(planned.points):
    done = subprocess.run(
      ["bash", "-c", show, "bash", str(folder / "1.points")],
      cwd=folder,
      env=os.environ | {"SLURM_ARRAY_TASK_ID": str(task)},
      capture_output=True,
      text=True,
      check=True,
    )
    words = done.stdout.split("\0")
    first, second = (i for i, word in enumerate(words) if word == "---")
    assert tuple(words[:first]) == each.training
    then = words[first + 1 : second]
    assert then[:3] == ["-m", "soundstream_jax.launch.sweep.point", "--trained"]
    (evaluate,) = (w for w in then if w.startswith("--evaluate="))
    given = shlex.split(evaluate.removeprefix("--evaluate="))
    assert tuple(given) == planned.evaluation
    assert then[-1] == f"--workdir={each.workdir}"
    assert words[second + 1 : second + 3] == [
      *(str(each.workdir / events.NAME), os.getcwd())
    ]
    (event,) = events.read(each.workdir)
    assert event["job"] == f"7_{task}"
    assert event["log"] == f"slurm/soundstream-7_{task}.log"
  # The next launch leaves what waits in the queue as it is.
  slurm.launch(planned, planned.points[:1], at_once=None)
  assert (folder / "2.points").is_file()
  assert "#SBATCH --array=0-0\n" in (folder / "submitted").read_text()
  assert slurm.queued() == {"7_0", "9"}


def test_jobsets_are_written_and_applied_one_for_each_point(
  cluster, planned, monkeypatch
):
  assert gke.launch(planned, planned.points).count("jobset/apply") == 3
  names = [gke.name(each) for each in planned.points]
  told = (cluster / "kubectl.txt").read_text().splitlines()
  assert told == [
    f"{verb} {name}.yaml" for name in names for verb in ("delete", "apply")
  ]
  for each, name in zip(planned.points, names, strict=True):
    text = (planned.out / f"gke/{name}.yaml").read_text()
    words = yaml.safe_load(text)["args"]
    assert words[0] == "soundstream_jax.launch.sweep.point"
    assert tuple(words[words.index("--") + 1 :]) == each.training
    assert events.read(each.workdir)[-1]["job"] == name
  monkeypatch.setenv("REFUSE", "1")
  with pytest.raises(errors.InputError, match=r"kubectl delete refuses"):
    gke.launch(planned, planned.points)
  monkeypatch.setattr(gke.gke_lib, "volume", lambda: ({}, "/mnt/bucket"))
  with pytest.raises(errors.InputError, match="as in --out=/mnt/bucket/seeds"):
    gke.launch(planned, planned.points)


STAND_IN = """
import os, sys
from soundstream_jax.launch.sweep import work
from soundstream_jax.launch.sweep import point
real = work.start
def start(words, **options):
  stage = words[words.index("-m") + 1].rpartition(".")[2]
  code = int(os.environ["CODE_OF_" + stage.upper()])
  # Waits to be stopped where it is to end with 75, as training does.
  program = f"print('{stage}', flush=True); import sys; sys.exit({code})"
  if code == 75:
    program = ("import signal, time\\n"
      "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\\n"
      "import sys; print('waits', flush=True); time.sleep(60)")
  return real([sys.executable, "-S", "-c", program], **options)
work.start = start
from absl import app
sys.argv = ["point", *sys.argv[1:]]
app.run(point.main, flags_parser=point.arguments.parse)
"""


def run_point(workdir, *flags, train=0, evaluate=0, **environment):
  return subprocess.Popen(
    [
      *(sys.executable, "-c", STAND_IN, *flags),
      *("--", "--config=tiny", f"--workdir={workdir}"),
    ],
    env=os.environ
    | {"CODE_OF_TRAIN": str(train), "CODE_OF_EVALUATE": str(evaluate)}
    | environment,
    stdout=subprocess.PIPE,
    text=True,
  )


@pytest.mark.parametrize(
  ("flags", "codes", "environment", "told", "code"),
  [
    ([], {}, {}, ["train", "evaluate"], 0),
    (["--trained"], {}, {}, ["evaluate"], 0),
    ([], {"train": 76}, {}, ["train"], 76),
    ([], {"evaluate": 2}, {}, ["train", "evaluate"], 2),
    ([], {}, {"JOB_COMPLETION_INDEX": "1"}, ["train"], 0),
  ],
)
def test_a_point_is_evaluated_once_it_is_trained_by_one_of_its_job(
  tmp_path, flags, codes, environment, told, code
):
  process = run_point(tmp_path / "w", *flags, **codes, **environment)
  assert process.communicate(timeout=60)[0].split() == told
  assert process.returncode == code
  kinds = [e["event"] for e in events.read(tmp_path / "w")]
  # Who does not evaluate does not write either.
  expected = [k for stage in told for k in (stage, f"{stage} ended")]
  assert kinds == ([] if environment else expected)


def test_a_point_that_is_asked_to_stop_lets_training_save(tmp_path):
  process = run_point(tmp_path, train=75)
  assert process.stdout.readline() == "waits\n"
  process.terminate()
  process.communicate(timeout=60)
  assert process.returncode == errors.EXIT_PREEMPTED
  kinds = [e["event"] for e in events.read(tmp_path)]
  assert kinds == ["train", "stopping", "train ended"]


def test_a_config_of_a_point_is_that_of_its_words(planned):
  for each in planned.points:
    given = presets.read(
      ["train", *each.training], plan.arguments.training_values()
    )[1]
    assert config_lib.from_flags(given=given) == each.point.config
  assert pathlib.Path(work.LOG).name == "log.txt"
