"""A signal at any moment ends a command at once, and leaves nothing half done.

The moments are those at which Python tells an audit hook of an import, of a
file that is opened and of one that is renamed: exact, on any machine.
"""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from soundstream_jax import endings

FROZEN = pathlib.Path(__file__).parent / "frozen/v0_1"
MODEL = f"--model={FROZEN / 'model'}"

# Argument 1: event; 2: how its first argument ends; 3: signal; then the module
# that is run, and its arguments.
PROGRAM = """
import os, runpy, sys, time
event, part, number, module, *rest = sys.argv[1:]
left = [None]
def hook(name, args):
  if name == event and left and str(args[0]).endswith(part):
    left.pop()
    os.kill(os.getpid(), int(number))
    time.sleep(20)
sys.addaudithook(hook)
sys.argv = [module, *rest]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
CODEC = "soundstream_jax.cli"
DECODE = (CODEC, "decode", FROZEN / "speech.sstr", "a.wav", MODEL)
DEMO = ("soundstream_jax.launch.demo", "--out=out")
EVALUATE = ("soundstream_jax.evaluate", "--workdir=none", "--out=out")
PREFLIGHT = ("soundstream_jax.launch.preflight", "--config=tiny")
PREPARE = (
  "soundstream_jax.data_pipelines.prepare",
  "--dataset=synthetic",
  "--minutes=0.4",
  "--out=out",
)
FETCH = ("soundstream_jax.data_pipelines.corpora.debian_audio", "--out=out")


def _run(folder, program, *arguments):
  environment = os.environ | {"JAX_PLATFORMS": "cpu"}
  environment.pop("XLA_FLAGS", None)
  done = subprocess.run(
    [sys.executable, "-c", program, *map(str, arguments)],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
    timeout=60,
  )
  return done.returncode, done.stdout, done.stderr


def _files(folder):
  return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
  ("event", "part", "command"),
  [
    ("import", "argparse", (CODEC, "info", FROZEN / "speech.sstr")),
    ("import", "jax._src", DECODE),
    ("open", ".partial", DECODE),
    ("os.rename", ".partial", DECODE),
    ("import", "absl.app", EVALUATE),
    ("import", "tensorflow_datasets", PREPARE),
    ("import", "ml_collections", PREFLIGHT),
    ("import", "ml_collections", DEMO),
    ("import", "soundfile", FETCH),
  ],
)
def test_a_signal_ends_a_command_in_one_line_and_no_file_is_left(
  tmp_path, event, part, command, number
):
  assert _run(tmp_path, PROGRAM, event, part, int(number), *command) == (
    128 + number,
    "",
    "interrupted\n",
  )
  assert _files(tmp_path) == []


def test_what_is_encoded_of_a_folder_stays(tmp_path):
  (tmp_path / "in").mkdir()
  for name in ("a", "b", "c"):
    (tmp_path / f"in/{name}.wav").symlink_to(FROZEN / "speech.wav")
  program = PROGRAM.replace("[None]", "[None, None]").replace(
    "    os.kill", "    if left: return\n    os.kill"
  )
  command = (CODEC, "encode", "in", "out", MODEL)
  number = signal.SIGINT
  code, _, told = _run(
    tmp_path, program, "os.rename", ".partial", int(number), *command
  )
  assert (code, told) == (130, "interrupted\n")
  done = list((tmp_path / "out").iterdir())
  assert done and {path.suffix for path in done} == {".sstr"}
  assert {path.stat().st_size for path in done} == {245}


@pytest.mark.parametrize("number", endings.SIGNALS)
def test_what_swallows_exceptions_or_runs_for_ever_ends_too(tmp_path, number):
  program = """
import os, sys, time
from soundstream_jax import endings, whole_files
endings.obey()
with whole_files.written("file") as partial:
  partial.write_text("half")
  os.kill(os.getpid(), int(sys.argv[1]))
  while True:
    try:
      time.sleep(1)
    except BaseException:
      pass
"""
  code, _, told = _run(tmp_path, program, int(number))
  assert (code, told) == (128 + number, "interrupted\n")
  assert _files(tmp_path) == []


def test_who_is_patient_ends_by_itself_or_after_the_grace(tmp_path):
  program = """
import os, signal, sys, time
from soundstream_jax import endings
endings.obey()
with endings.patient(1.0):
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(0.3)
  print("tidied", flush=True)
  time.sleep(float(sys.argv[1]))
  if sys.argv[1] == "0":
    os._exit(3)
"""
  assert _run(tmp_path, program, "0") == (3, "tidied\n", "")
  assert _run(tmp_path, program, "30") == (143, "tidied\n", "interrupted\n")


def test_a_stream_that_ended_itself_is_not_ended_again(tmp_path):
  """The thread that watches for signals may come late on a busy machine."""
  program = """
import os, signal, sys, threading, time
from soundstream_jax import endings
from soundstream_jax.cli.files import pipes
os.dup2(os.pipe()[0], 0)
read = os.read
def late(number, size):
  found = read(number, size)
  time.sleep(0.5)
  return found
os.read = late
endings.obey()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
def work():
  with pipes.Input() as source:
    source.read1(10)
  return source.code
code = work()  # and forgets its input, as the command does
time.sleep(1)
print("ended", flush=True)
sys.exit(code)
"""
  assert _run(tmp_path, program) == (130, "ended\n", "")


def test_a_signal_of_a_child_does_not_end_its_parent(tmp_path):
  program = """
import os, signal, time
from soundstream_jax import endings
endings.obey()
child = os.fork()
if not child:
  time.sleep(30)
  os._exit(1)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
assert os.waitpid(child, 0)[1] == signal.SIGTERM
time.sleep(0.5)
print("alive", flush=True)
"""
  assert _run(tmp_path, program) == (0, "alive\n", "")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
  program = """
import os, signal, time
from soundstream_jax import endings
ignored = signal.SIGINT, signal.SIGHUP  # as of a shell's &, and of nohup
for number in ignored:
  signal.signal(number, signal.SIG_IGN)
endings.obey()
for number in ignored:
  os.kill(os.getpid(), number)
time.sleep(0.3)
print("alive", flush=True)
"""
  assert _run(tmp_path, program) == (0, "alive\n", "")
