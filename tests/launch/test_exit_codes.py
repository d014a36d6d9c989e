"""launch/README.md's table of exit codes is what every launcher does.

Each one runs with a stand-in for training, srun or python, that ends with the
codes it is told, one for each start.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import yaml

from soundstream_jax import errors, launch

FOLDER = pathlib.Path(launch.__file__).parent
TEXT = (FOLDER / "README.md").read_text()
ROWS = re.findall(r"^\| (\d+|any other) \| [^|]+ \| ([^|]+) \|$", TEXT, re.M)
LAUNCHERS = ("local", "SLURM", "GKE", "TPU VM")
END, AGAIN, UNCOUNTED = "end", "start again", "start again, without counting"
# An exception, an abort, a kill.
ANY_OTHER = (1, 134, 137)


def codes():
  """Yields (code, launcher, what it does), as the table says."""
  for code, text in ROWS:
    for number in ANY_OTHER if code == "any other" else (int(code),):
      for clause in text.split("; "):
        names, verb, rest = re.fullmatch(
          r"(.*?)\s*\b(end|start again)\b(.*)", clause
        ).groups()
        counts = "without counting" not in rest
        action = END if verb == "end" else AGAIN if counts else UNCOUNTED
        for launcher in names.split(" and ") if names else LAUNCHERS:
          yield number, launcher, action


def of(launcher):
  return [(code, action) for code, name, action in codes() if name == launcher]


def script(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)
  return path


def test_the_table_has_every_code_and_every_launcher():
  # Those from 128 on are a shell's, for signals; training has none of them.
  named = {
    v for k, v in vars(errors).items() if k.startswith("EXIT_") and v < 128
  }
  assert {int(code) for code, _ in ROWS if code.isdecimal()} == {0} | named
  assert ROWS[-1][0] == "any other"
  for launcher in LAUNCHERS:
    assert sorted(code for code, _ in of(launcher)) == sorted(
      {0, *named, *ANY_OTHER}
    )


# The launcher as it is, but for the interpreter that it starts.
LOCAL = """
import sys
from absl import app
from soundstream_jax.launch import arguments, local
sys.executable = sys.argv.pop(1)
app.run(local.main, flags_parser=arguments.parse)
"""
# Ends with the next code of its list; prints its lines first.
TRAINING = """#!{python}
import json, os, pathlib, sys, time
index = next(w for w in sys.argv if w.startswith("--process_id="))[-1]
folder = pathlib.Path("{folder}")
with (folder / f"starts{{index}}").open("a") as starts:
  print("start", file=starts)
start = len((folder / f"starts{{index}}").read_text().splitlines())
seconds, line, code = json.loads((folder / "plan.json").read_text())[index][start - 1]
time.sleep(seconds)
print(line, file=sys.stderr, flush=True)
if code < 0:
  os.kill(os.getpid(), -code)
sys.exit(code)
"""


def run_local(folder, plan, *, restarts=1):
  """Runs launch.local on a plan: process -> [(seconds, line, code), ...]."""
  (folder / "plan.json").write_text(json.dumps(plan))
  python = script(
    folder / "python", TRAINING.format(python=sys.executable, folder=folder)
  )
  done = subprocess.run(
    [
      *(sys.executable, "-c", LOCAL, str(python)),
      *(f"--processes={len(plan)}", f"--restarts={restarts}", "--"),
      *("--config=tiny", f"--workdir={folder / 'run'}"),
      *("--config.batch_size=12", "--config.data.sources=/data"),
    ],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert done.stderr == ""
  starts = len((folder / "starts0").read_text().splitlines())
  return done.returncode, starts, done.stdout


@pytest.mark.parametrize(("code", "action"), of("local"))
def test_the_local_launcher(tmp_path, code, action):
  assert (code in errors.FINAL) == (action == END)
  ended, starts, text = run_local(tmp_path, {"0": [(0, "", code)] * 2})
  assert ended == code
  assert starts == (1 if action == END else 2), text
  assert ("starting the job again (1 of 1)" in text) == (action == AGAIN)


@pytest.mark.parametrize(("code", "action"), of("SLURM"))
def test_the_slurm_script(tmp_path, code, action):
  script(tmp_path / "bin/srun", f"#!/bin/bash\nexit {code}\n")
  script(tmp_path / "bin/scontrol", '#!/bin/bash\necho "$@" >>asked\n')
  done = subprocess.run(
    ["bash", FOLDER / "slurm.sbatch"],
    cwd=tmp_path,
    env={
      **os.environ,
      "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
      "SLURM_SUBMIT_DIR": str(tmp_path),
      "SLURM_JOB_ID": "7",
      "SLURM_JOB_NAME": "job",
      "SLURM_JOB_NODELIST": "n[0-1]",
      "SLURM_NTASKS": "2",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  asked, counted = tmp_path / "asked", tmp_path / "job-7.failures"
  if action == END:
    assert done.returncode == code
    assert not asked.exists()
  else:
    assert asked.read_text() == "requeue 7\n"
  assert counted.exists() == (action == AGAIN)


@pytest.mark.parametrize(("code", "action"), of("GKE"))
def test_the_rules_of_the_jobset(code, action):
  spec = yaml.safe_load((FOLDER / "jobset.yaml").read_text())["spec"]
  job = spec["replicatedJobs"][0]["template"]["spec"]
  (rule,) = job["podFailurePolicy"]["rules"]
  failed = code in rule["onExitCodes"]["values"]
  message = f"failed with exit code {code} matching FailJob rule at index 0"
  found = [
    each["action"]
    for each in spec["failurePolicy"]["rules"]
    if any(re.search(p, message) for p in each["onJobFailureMessagePatterns"])
  ]
  if code == 0:  # no failure, so no rule is asked
    assert (found, failed) == ([], False)
    return
  assert [found, failed] == {
    END: [["FailJobSet"], True],
    UNCOUNTED: [["RestartJobSetAndIgnoreMaxRestarts"], True],
    AGAIN: [[], False],
  }[action]


@pytest.mark.parametrize(("code", "action"), of("TPU VM"))
def test_the_loop_of_a_tpu_vm(tmp_path, code, action):
  home = tmp_path / "home"
  script(
    home / "venv/bin/python",
    f'#!/bin/bash\necho start >>"$HOME/starts"\nexit {code}\n',
  )
  script(tmp_path / "bin/curl", "#!/bin/bash\necho 10.0.0.1\n")
  work = re.search(r"^work\(\) \{.*?^\}", _tpu_vm(), re.M | re.S)[0]
  peers = re.search(r"^peers\(\) \{.*?^\}", _tpu_vm(), re.M | re.S)[0]
  done = subprocess.run(
    ["bash", "-c", f"{peers}\n{work}\nwork 1 --config=tiny"],
    env={
      **os.environ,
      "HOME": str(home),
      "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  starts = len((home / "starts").read_text().splitlines())
  assert starts == (1 if action == END else 2), done.stdout
  assert f"training ended with exit code {code}\n" in done.stdout


def _tpu_vm():
  return (FOLDER / "tpu_vm.sh").read_text()


@pytest.mark.parametrize("code", [1, 2, 74])
@pytest.mark.parametrize("culprit", [0, 2])
def test_the_process_that_failed_is_named_and_not_its_victims(
  tmp_path, code, culprit
):
  """Process 0 carries the board, and so ends after those that read it."""
  said = f"error: process {culprit} of host ended: it failed"
  plan = {str(index): [(0.2, said, code)] for index in range(3)}
  plan[str(culprit)] = [(0.8, "error: it failed", code)]
  ended, _, text = run_local(tmp_path, plan, restarts=0)
  assert ended == code
  assert f"process {culprit} ended first, with exit code {code}" in text


# Three processes of which two are seen to have ended at once.
AT_ONCE = """
import types
from soundstream_jax.launch import local
job = object.__new__(local._Job)
job._processes = [
  types.SimpleNamespace(poll=lambda code=code: code) for code in (-6, None, -9)
]
print(job._first())
"""


def test_of_two_at_once_it_was_not_the_one_that_jax_aborted():
  done = subprocess.run(
    [sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=True
  )
  assert done.stdout == "(2, -9)\n"


@pytest.mark.slow
def test_when_one_ends_with_an_error_all_end_within_15_seconds(tmp_path):
  plan = {"0": [(0, "error: bad", 2)], "1": [(50, "", 0)], "2": [(50, "", 0)]}
  began = time.monotonic()
  ended, _, text = run_local(tmp_path, plan)
  assert time.monotonic() - began < 15
  assert ended == 2
  assert "process 0 ended first, with exit code 2" in text
