"""Laws of every command with paths that the system, or a terminal, refuses.

One process imports everything and forks for each command line. The fork may
become a user without rights: for root, whom tests may run as, no folder is
closed. What runs in it is the command itself, with its standard streams.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

from soundstream_jax import console
from soundstream_jax.cli import main as cli
from tests import test_imports

STRANGER = 65534
FROZEN = pathlib.Path(__file__).parent / "frozen/v0_1"
LONG_WORK = 99  # exit code of what must not be begun

SERVER = """
import contextlib, importlib, json, os, runpy, sys, traceback
from absl import app, flags, logging
import matplotlib.pyplot, soundfile, soxr, safetensors.numpy, scipy.signal, yaml
names, stranger, long_work = json.loads(sys.argv[1])
for name in names:
  known = set(flags.FLAGS)
  importlib.import_module(name)
  # Commands may have flags of the same name; a fork defines its own again.
  for flag in set(flags.FLAGS) - known:
    if "soundstream" in flags.FLAGS.find_module_defining_flag(flag):
      delattr(flags.FLAGS, flag)
from soundstream_jax.checkpoint import weights
from soundstream_jax.checkpoint import exported
from soundstream_jax.data_pipelines.preparation import workers
from soundstream_jax.launch.preflight import step_report
from soundstream_jax.train import step
LONG = ((weights, "_read"), (exported, "_arrays"), (step, "build"),
        (workers, "build"), (step_report, "examine"))

def begin(*_, **__):
  os._exit(long_work)

def run(module, words, folder, closed, encoding):
  os.chdir(folder)
  for number, name in ((1, "stdout"), (2, "stderr")):
    os.dup2(os.open(f"../{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
  sys.stdout = open(1, "w", encoding=encoding)
  sys.stderr = open(2, "w", encoding=encoding)
  logging.get_absl_handler().python_handler.stream = sys.stderr
  if closed:
    for place, name in LONG:
      setattr(place, name, begin)
    if os.getuid() == 0:
      os.setgroups([])
      os.setgid(stranger)
      os.setuid(stranger)
  sys.argv = [module, *words]
  for name in (module, f"{module}.__main__"):
    sys.modules.pop(name, None)
  runpy.run_module(module, run_name="__main__", alter_sys=True)

for line in sys.stdin:
  child = os.fork()
  if child == 0:
    code = 0
    try:
      run(*json.loads(line))
    except SystemExit as end:
      code = end.code or 0
    except BaseException:
      traceback.print_exc()
      code = 1
    with contextlib.suppress(OSError):
      sys.stdout.flush()
    os._exit(code)
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server():
  # Started as training is: its flags are defined when it runs.
  names = [n for n in test_imports.FILES if not n.endswith("train.__main__")]
  process = subprocess.Popen(
    [
      sys.executable,
      "-c",
      SERVER,
      json.dumps([names, STRANGER, LONG_WORK]),
    ],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
  )
  yield process
  process.stdin.close()
  process.stdout.close()
  process.wait()


@pytest.fixture(scope="module")
def ground():
  """Folders that the stranger may reach, which pytest's own are not."""
  root = pathlib.Path(tempfile.mkdtemp(prefix="soundstream-odd-"))
  root.chmod(0o755)
  for name in ("closed", "bare", "user"):
    (root / name).mkdir(mode=0o755)
  for name in ("closed", "user"):
    shutil.copy(FROZEN / "speech.wav", root / name / "a.wav")
    shutil.copy(FROZEN / "speech.sstr", root / name / "a.sstr")
    (root / name / "p.py").write_text("")
  shutil.copytree(FROZEN / "model", root / "user/model")
  (root / "user/sounds").mkdir()
  shutil.copy(FROZEN / "speech.wav", root / "user/sounds")
  (root / "user/loop").symlink_to("loop")
  (root / "user/dangling").symlink_to("nowhere")
  (root / "user/file").write_text("")
  if os.getuid() == 0:
    for folder in (root / "user", root / "user/model"):
      os.chown(folder, STRANGER, STRANGER)
  (root / "bare").chmod(0o555)
  (root / "closed").chmod(0o700 if os.getuid() == 0 else 0)
  for name in ("stdout", "stderr"):
    (root / name).touch()
  yield root
  (root / "closed").chmod(0o700)
  shutil.rmtree(root)


@pytest.fixture
def run(server, ground):
  """Runs a command; returns its exit code and what it printed."""

  def run_it(module, *words, closed, encoding="utf-8"):
    name = f"soundstream_jax.{module}"
    folder = str(ground / "user")
    line = [name, [str(word) for word in words], folder, closed, encoding]
    server.stdin.write(json.dumps(line) + "\n")
    server.stdin.flush()
    code = int(server.stdout.readline())
    return code, *((ground / n).read_text() for n in ("stdout", "stderr"))

  return run_it


# {} is the path. Of what is read, and of what is written.
DATA = "data_pipelines.prepare --dataset=audio_folder --input={} --out=new"
TRAIN = "train --config=tiny --workdir=new --config.compilation_cache="
READING = [
  f"{TRAIN} --config.data.sources={{}}",
  f"{TRAIN} --config.data.sources=none --config.init_from={{}}",
  "train --config={}/p.py --workdir=new",
  DATA,
  DATA.replace("audio_folder", "librispeech"),
  "evaluate --workdir={}",
  "evaluate --model={}",
  "evaluate --model=model --audio={}",
  "evaluate --model=model --audio=sounds --own_metrics={}",
  "evaluate --model=model --audio=sounds --codec={}",
  "evaluate.systems --codecs={}",
  "evaluate.compare model {}",
  "evaluate.report --runs={} --out=new.html",
  "launch.check -- --config={}/p.py --workdir=new",
  "launch.sweep --sweep={}/p.py --preset=tiny --out=new",
  "launch.sweep --status --out={}",
  "cli encode {}/a.wav new.sstr --model=model",
  "cli encode a.wav new.sstr --model={}",
  "cli decode {}/a.sstr new.wav --model=model",
  "cli decode a.sstr new.wav --model={}",
  "cli transcode {}/a.sstr new.sstr --bitrate=1000",
  "cli info {}/a.sstr",
  "cli stream --model={}",
  "cli export new --model={}",
  "cli import-torch new --from={}",
  "cli import-torch new --from=model --weights_file={}",
  "cli pin --model={} --step=1",
  "cli tables --model=model --data={}",
  "cli tokens --model={} --data=sounds --out=new",
  "cli tokens --model=model --data={} --out=new",
]
# A link may lead to a disk that only the nodes have.
ON_NODES = (
  "launch.check -- --config=tiny --config.data.sources=none --workdir={}/new"
)
WRITING = [
  f"{TRAIN} --workdir={{}} --config.data.sources=none",
  "data_pipelines.prepare --dataset=synthetic --minutes=1 --out={}/new",
  "data_pipelines.corpora.debian_audio --out={}/new",
  "evaluate --workdir=model --out={}",
  "evaluate.compare model model --out={}/new",
  "evaluate.report --runs=model --out={}/new",
  "launch.demo --out={}/new",
  "launch.preflight --config=tiny --topology=cpu:1 --json={}/new",
  "launch.preflight --config=tiny --topology=cpu:1 --hlo={}/new",
  "launch.slurm --nodes=1 --cpus_per_task=1 --script={}/new -- --config=tiny"
  " --workdir=new --config.data.sources=none",
  "launch.sweep --sweep=seeds --preset=tiny --out={}/new --"
  " --config.data.sources=none",
  "cli export {}/new --model=model",
  "cli import-torch {}/new --from=model",
  "cli tables --model={} --data=none",
  "cli encode a.wav {}/new.sstr --model=model",
  "cli decode a.sstr {}/new.wav --model=model",
  "cli transcode a.sstr {}/new.sstr --bitrate=600",
  "cli tokens --model=model --data=sounds --out={}/new",
]
BAD = ["../closed", "loop", "dangling", "file", "x" * 300]


@pytest.mark.parametrize(
  ("command", "path"),
  [
    *((command, path) for command in READING for path in BAD),
    *((ON_NODES, path) for path in BAD if path != "dangling"),
    *((command, path) for command in WRITING for path in (*BAD, "../bare")),
  ],
)
def test_a_path_that_is_refused_is_one_line_before_any_long_work(
  command, path, run, ground
):
  before = sorted(ground.rglob("*"))
  code, out, err = run(*command.format(path, path).split(), closed=True)
  lines = [line for line in err.splitlines() if not re.match("[IW][0-9]", line)]
  assert code == 2, (code, err)
  assert out == ""
  assert len(lines) == 1 and lines[0].startswith("error: "), err
  assert path.lstrip("./") in lines[0]
  assert sorted(ground.rglob("*")) == before


def test_the_stranger_is_refused_what_root_is_not(run):
  # Else all that is above would pass for root without a look at rights.
  words = ("cli", "info", "../closed/a.sstr")
  assert run(*words, closed=True)[0] == 2
  if os.getuid() == 0:
    assert run(*words, closed=False)[0] == 0


BYTES = "\udcffü"
CONTROLS = "n\nNEXT ü\u202e\u200f\x1b[31m\x9b1m\r"
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202e]|(?m:^NEXT)")
# They end well, and say the name.
SAYING = [
  "cli encode {}.wav {}1.sstr --model=model",
  "cli decode {}.sstr {}1.wav --model=model",
  "cli info {}.sstr",
  "cli transcode {}.sstr {}2.sstr --bitrate=600",
]
# They end with an error, or well.
ANSWERING = [
  "data_pipelines.prepare --dataset=audio_folder --input={} --out={}d",
  "data_pipelines.prepare --dataset=synthetic --kind=noises --minutes=1"
  " --workers=1 --out={}e",
  "data_pipelines.corpora.debian_audio --out={} --packages=nope",
  "train --config=tiny --workdir={}w --config.data.sources={}",
  "train --config={}.py --workdir={}w",
  "train --workdir={}w --config.{}=1",
  "train --{}",
  "evaluate --workdir={} --out={}o",
  "evaluate --model={} --audio={}",
  "evaluate --model=model --audio={} --bitrates=none --baselines=low_pass"
  " --metrics=si_sdr_db --workers=0",
  "evaluate.systems --codecs={}",
  "evaluate.compare {} model --out={}.json",
  "evaluate.report --runs={} --out={}r",
  "launch.demo --out={}",
  "launch.preflight --config=tiny --topology=cpu:1 --json={}none/x",
  "launch.check -- --config=tiny --workdir={}w --config.data.sources={}",
  "launch.gke --image=i --bucket=bucket --topology=v5e:2x2 --"
  " --config=tiny --workdir=/mnt/bucket/{} --config.data.sources={}",
  "launch.slurm --dry_run --nodes=1 --cpus_per_task=1 -- --config=tiny"
  " --config.batch_size=8 --workdir={}w --config.data.sources={}",
  "launch.sweep --sweep={}.py --preset=tiny --out={}s",
  "launch.sweep --status --out={}",
  "launch.sweep.point --{}",
  "cli export {}x --model=model",
  "cli export {}y --model={}",
  "cli import-torch {}z --from={}",
  "cli pin --model={} --step=1",
  "cli tables --model={} --data={}",
  "cli tokens --model=model --data={} --out={}t",
  "cli {}",
]


@pytest.mark.parametrize(
  ("command", "name", "encoding"),
  [
    *((command, BYTES, "ascii") for command in SAYING),
    *((command, CONTROLS, "utf-8") for command in SAYING),
    *((command, BYTES, "ascii") for command in ANSWERING),
    *((command, CONTROLS, "utf-8") for command in ANSWERING),
  ],
)
def test_any_name_is_printed_in_one_line_and_the_command_goes_on(
  command, name, encoding, run, ground
):
  folder = ground / "user" / name
  folder.mkdir(exist_ok=True)
  for suffix in (".wav", ".sstr", ".py"):
    shutil.copy(
      ground / f"user/{'p' if suffix == '.py' else 'a'}{suffix}",
      ground / f"user/{name}{suffix}",
    )
  shutil.copy(FROZEN / "speech.wav", folder / f"{name}.wav")
  (folder / f"{name}bad.wav").write_text("no sound")
  try:
    words = [word.format(*[name] * 2) for word in command.split()]
    code, out, err = run(*words, closed=False, encoding=encoding)
  finally:
    for path in (ground / "user").glob(f"*{name[-1]}*"):
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  assert code in ((0,) if command in SAYING else (0, 2)), (code, err)
  assert "Traceback" not in err
  assert not HARMFUL.search(out + err)
  if code:
    assert err.count("error: ") == 1 and err.endswith(".\n"), err
  if command in SAYING:
    shown = console.shown(name).encode(encoding, "backslashreplace")
    assert shown.decode(encoding) in out


def test_the_commands_are_all_that_there_are():
  tried = " ".join([*READING, ON_NODES, *WRITING, *ANSWERING, *SAYING])
  for name in cli.COMMANDS:
    assert f"cli {name} " in tried
  for name, path in test_imports.FILES.items():
    module = name.removeprefix("soundstream_jax.").removesuffix(".__main__")
    # Workers and Beam are started as the others are; `local` checks as
    # `check` does, and says what its processes say.
    apart = ("workers", "beam", "launch.local")
    if '__name__ == "__main__"' in path.read_text():
      assert module.endswith(apart) or f"{module} " in tried, module
