"""tpu_vm.sh: what it asks gcloud for, and what that does on each worker.

`gcloud` is a script of the test's: it writes down its arguments and runs
--command for two workers, each in a home of its own with a `python` that ends
as the test says.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import pytest

from soundstream_jax import launch

SCRIPT = pathlib.Path(launch.__file__).with_name("tpu_vm.sh")

GCLOUD = """\
#!{python}
import json, os, subprocess, sys
with open("{folder}/calls.jsonl", "a") as calls:
  print(json.dumps(sys.argv[1:]), file=calls)
command = [a for a in sys.argv if a.startswith("--command=")]
codes = []
for home in ("worker0", "worker1") if command and "ssh" in sys.argv else ():
  env = dict(os.environ, HOME="{folder}/" + home)
  shell = ["bash", "-c", command[0].removeprefix("--command=")]
  codes.append(subprocess.run(shell, env=env).returncode)
sys.exit(max(codes, default=0))
"""

# The metadata of a TPU VM: the number of the worker is that of its home.
CURL = """\
#!{python}
import os, sys
assert sys.argv[-2] == "Metadata-Flavor: Google", sys.argv
print({{
  "worker-network-endpoints": "a:0:10.0.0.1,b:1:10.0.0.2",
  "agent-worker-number": os.environ["HOME"][-1],
}}[sys.argv[-1].split("/instance/attributes/")[1]], end="")
"""

# Ends with the codes in its home, one per start; "wait" waits for SIGTERM.
PYTHON = """\
#!{python}
import json, os, pathlib, signal, sys
home = pathlib.Path(os.environ["HOME"])
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
with (home / "starts.jsonl").open("a") as starts:
  print(json.dumps(sys.argv[1:]), file=starts)
codes = json.loads((home / "codes.json").read_text())
code = codes[len((home / "starts.jsonl").read_text().splitlines()) - 1]
if code == "wait":
  signal.sigtimedwait({{signal.SIGTERM}}, 60)
  code = 75
sys.exit(code)
"""


# Runs what is given with -c as the version that it says it is; `-m venv DIR`
# makes a folder with a `pip` that writes down what it is to install.
WORKERS_PYTHON = """\
#!{python}
import json, os, pathlib, sys
if sys.argv[1] == "-c":
  sys.version_info, sys.version = {version}, "{dotted} (main)"
  exec(sys.argv[2])
else:
  assert sys.argv[1:3] == ["-m", "venv"], sys.argv
  pip = pathlib.Path(sys.argv[3], "bin/pip")
  pip.parent.mkdir(parents=True, exist_ok=True)
  pip.write_text(
    "#!{python}\\nimport json, os, pathlib, sys\\n"
    "home = pathlib.Path(os.environ['HOME'])\\n"
    "(home / 'pip.json').write_text(json.dumps(sys.argv[1:]))\\n"
  )
  pip.chmod(0o755)
"""


class Workers:
  """A TPU VM of two workers, in a folder."""

  def __init__(self, folder, codes):
    self.folder = folder
    self._program(folder / "bin/gcloud", GCLOUD)
    self._program(folder / "bin/curl", CURL)
    for home in self.homes:
      self._program(home / "venv/bin/python", PYTHON)
      (home / "codes.json").write_text(json.dumps(codes))

  def pythons(self, *, name, version):
    """Gives all workers a Python that has a name and says its version."""
    self._program(
      self.folder / "bin" / name,
      WORKERS_PYTHON,
      version=version,
      dotted=".".join(map(str, version)),
    )

  def _program(self, path, text, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    values |= {"python": sys.executable, "folder": self.folder}
    path.write_text(text.format(**values))
    path.chmod(0o755)

  @property
  def homes(self):
    return [self.folder / "worker0", self.folder / "worker1"]

  def run(self, *words, **environment):
    """Runs the script, whose python has the package, unless told otherwise."""
    return subprocess.run(
      ["bash", str(SCRIPT), *words],
      cwd=self.folder,
      env={
        **os.environ,
        "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        "LOCAL_PYTHON": sys.executable,
        **environment,
      },
      capture_output=True,
      text=True,
      timeout=60,
      check=False,
    )

  def calls(self):
    path = self.folder / "calls.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return list(map(json.loads, lines))

  def starts(self, home):
    path = home / "starts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return list(map(json.loads, lines))

  def wait_for_end(self):
    deadline = time.monotonic() + 30
    while any(
      (home / "soundstream.pid").exists() or not self.starts(home)
      for home in self.homes
    ):
      assert time.monotonic() < deadline, [
        (home / "soundstream.log").read_text() for home in self.homes
      ]
      time.sleep(0.05)


@pytest.fixture
def workers(tmp_path):
  return lambda *codes: Workers(tmp_path, list(codes))


ARGUMENTS = [
  "--config=tiny",
  "--config.data.sources=/data",
  "--config.loss.spectral_windows=(256, 512)",
  '--workdir=/mnt/b/it\'s $(touch x) & "y"',
]


def test_the_script_is_bash():
  subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_every_worker_trains_with_the_same_arguments_and_knows_the_others(
  workers,
):
  pod = workers(0)
  done = pod.run("pod", "us-west4-a", "train", *ARGUMENTS)
  assert done.returncode == 0, done.stderr
  pod.wait_for_end()
  peers = ["--coordinator=10.0.0.1:8482", "--num_processes=2"]
  for index, home in enumerate(pod.homes):
    words = [*ARGUMENTS, *peers, f"--process_id={index}"]
    assert pod.starts(home) == [["-u", "-m", "soundstream_jax.train", *words]]
  ((*start, command, zone),) = pod.calls()
  assert " ".join(start) == "compute tpus tpu-vm ssh pod --worker=all"
  assert command.startswith("--command=")
  assert zone == "--zone=us-west4-a"


def test_a_worker_that_cannot_know_the_others_does_not_train(workers):
  pod = workers(0)
  (pod.folder / "bin/curl").write_text("#!/bin/bash\nexit 22\n")
  assert pod.run("pod", "us-west4-a", "train", *ARGUMENTS).returncode == 0
  for home in pod.homes:
    log = home / "soundstream.log"
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text()):
      assert time.monotonic() < deadline
      time.sleep(0.05)
    assert log.read_text().startswith("error: the metadata server does not")
    assert pod.starts(home) == []


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    (["--config=tinny", *ARGUMENTS[1:]], "--config=tinny is not a preset."),
    ([*ARGUMENTS, "--config.batchsize=3"], "--config.batchsize: there is no"),
    ([*ARGUMENTS, "--workdirr=x"], "there is no flag --workdirr. Did you"),
    ([*ARGUMENTS, "--process_id=0"], "--process_id is for processes that are"),
    (ARGUMENTS[:1] + ARGUMENTS[2:], "data.sources is empty: there is nothing"),
  ],
)
@pytest.mark.parametrize("dry_run", ["", "1"])
def test_what_training_would_refuse_reaches_no_machine(
  workers, flags, line, dry_run
):
  pod = workers(0)
  done = pod.run("pod", "us-west4-a", "train", *flags, DRY_RUN=dry_run)
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith(f"error: {line}")
  assert done.stderr.count("\n") == 1
  assert pod.calls() == []


def test_without_the_package_here_it_says_that_nothing_was_checked(workers):
  pod = workers(0)
  python = pod.folder / "bin/python3"
  python.write_text("#!/bin/bash\nexit 1\n")
  python.chmod(0o755)
  wrong = ["--config=tinny", *ARGUMENTS[1:]]
  done = pod.run(
    "pod", "us-west4-a", "train", *wrong, DRY_RUN="1", LOCAL_PYTHON=""
  )
  assert done.returncode == 0
  said, command = done.stderr.splitlines()
  assert said.startswith("[launch] training's flags were not checked: python3 ")
  assert command.startswith("$ gcloud compute")


@pytest.mark.parametrize("final", [0, 2, 75, 76, 143])
def test_training_starts_again_until_its_end_is_final(workers, final):
  pod = workers(137, 134, final)
  assert pod.run("pod", "us-west4-a", "train", *ARGUMENTS).returncode == 0
  pod.wait_for_end()
  for home in pod.homes:
    assert len(pod.starts(home)) == 3
    log = (home / "soundstream.log").read_text()
    assert log.endswith(f"training ended with exit code {final}\n")


def test_training_that_always_fails_ends(workers):
  pod = workers(1, 1, 1, 1)
  pod.run("pod", "us-west4-a", "train", *ARGUMENTS, RESTARTS="2")
  pod.wait_for_end()
  assert [len(pod.starts(home)) for home in pod.homes] == [3, 3]


def test_stop_reaches_training_and_a_second_start_is_refused(workers):
  pod = workers("wait")
  assert pod.run("pod", "us-west4-a", "train", *ARGUMENTS).returncode == 0
  deadline = time.monotonic() + 30
  while not all(pod.starts(home) for home in pod.homes):
    assert time.monotonic() < deadline
    time.sleep(0.05)
  again = pod.run("pod", "us-west4-a", "train", *ARGUMENTS)
  assert again.returncode == 2
  assert "training runs already" in again.stderr
  assert pod.run("pod", "us-west4-a", "stop").returncode == 0
  pod.wait_for_end()
  for home in pod.homes:
    assert "exit code 75" in (home / "soundstream.log").read_text()


def test_a_dry_run_prints_the_command_and_runs_nothing(workers):
  pod = workers(0)
  done = pod.run("pod", "us-west4-a", "mount", "gs://sounds", DRY_RUN="1")
  assert pod.calls() == []
  (line,) = done.stderr.splitlines()
  words = shlex.split(line.removeprefix("$ "))
  assert " ".join(words[:6]) == "gcloud compute tpus tpu-vm ssh pod"
  assert words[6] == "--worker=all"
  assert words[7].endswith(
    "gcsfuse --implicit-dirs --rename-dir-limit=200000 sounds /mnt/sounds"
  )


ALL = "--worker=all"
SETUP = ("pod", "us-west4-a", "setup")


def test_setup_installs_the_wheel_on_all_workers(workers):
  pod = workers(0)
  pod.pythons(name="python3", version=(3, 11, 0))
  refused = pod.run("pod", "us-west4-a", "setup", DRY_RUN="1")
  assert (refused.returncode, refused.stdout) == (2, "")
  assert "there is no wheel in dist/" in refused.stderr
  wheel = pod.folder / "dist/soundstream_jax-1.0-py3-none-any.whl"
  wheel.parent.mkdir()
  wheel.touch()
  done = pod.run("pod", "us-west4-a", "setup", DRY_RUN="1")
  assert done.returncode == 0, done.stderr
  copy = shlex.split(done.stderr.splitlines()[0])
  constraints = SCRIPT.with_name("constraints.txt")
  assert copy[-4:-1] == [str(wheel.relative_to(pod.folder)), "pod:", ALL]
  assert pathlib.Path(copy[-5]).samefile(constraints)
  assert pod.run("pod", "us-west4-a", "setup").returncode == 0
  for home in pod.homes:
    assert json.loads((home / "pip.json").read_text()) == [
      *("install", "--upgrade", "-c", f"{home}/constraints.txt"),
      *("libtpu", "requests", f"./{wheel.name}"),
    ]


def test_setup_installs_what_is_named_with_the_python_that_is_named(workers):
  pod = workers(0)
  pod.pythons(name="python3.13", version=(3, 13, 0))
  done = pod.run(*SETUP, "a b", "soundstream_jax==9", PYTHON="python3.13")
  assert done.returncode == 0, done.stderr
  copy, _ = pod.calls()
  assert [word for word in copy if word.endswith((".txt", ".whl"))] == [copy[4]]
  for home in pod.homes:
    installed = json.loads((home / "pip.json").read_text())
    assert installed[-4:] == ["libtpu", "requests", "a b", "soundstream_jax==9"]


def test_a_python_that_is_no_name_is_refused(workers):
  done = workers(0).run(*SETUP, PYTHON="python3; rm")
  assert done.returncode == 2
  assert done.stderr == (
    "error: PYTHON=python3; rm is not the name of a Python, as in python3.11.\n"
  )


def test_setup_says_in_one_line_that_a_workers_python_is_too_old(workers):
  pod = workers(0)
  pod.pythons(name="python3", version=(3, 10, 13))
  done = pod.run(*SETUP, "soundstream_jax")
  assert done.returncode == 2
  lines = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
  assert len(lines) == len(pod.homes)
  assert lines[0].startswith(
    "error: python3 is 3.10.13 here; 3.11 or later is needed. Install one"
  )
  for home in pod.homes:
    assert not (home / "pip.json").exists()


@pytest.mark.parametrize(
  ("words", "line"),
  [
    (["pod"], "NAME ZONE ACTION are needed"),
    (["a b", "us-west4-a", "log"], "NAME=a b is not a TPU VM's name"),
    (["-x", "us-west4-a", "log"], "NAME=-x is not a TPU VM's name"),
    (["pod", "west;ls", "log"], "ZONE=west;ls is not a zone"),
    (["pod", "us-west4-a", "trian"], "ACTION=trian is none of setup"),
    (["pod", "us-west4-a", "train"], "train needs training's flags"),
    (["pod", "us-west4-a", "mount", "a;b"], "BUCKET=a;b is not a bucket"),
    (
      ["pod", "us-west4-a", "train", "--workdir=gs://b/r"],
      "--workdir=gs://b/r is an address. Mount the bucket",
    ),
  ],
)
def test_bad_input_is_one_line_and_reaches_no_machine(workers, words, line):
  pod = workers(0)
  done = pod.run(*words)
  assert done.returncode == 2
  assert done.stderr.startswith(f"error: {line}")
  assert done.stderr.count("\n") == 1
  assert pod.calls() == []
