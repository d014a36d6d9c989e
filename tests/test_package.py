"""Laws of the built package: what a user who installs the wheel gets.

The wheel is built from a copy of the checkout, as an installer would, and put
into an empty environment with what it declares and nothing else. There every
command runs far from the checkout, as a user who has no home and may write
nothing but the folder that the command runs in.
"""

import functools
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import numpy as np
import pytest

import soundstream_jax
from benchmarks.faults import background_job
from soundstream_jax.audio import wav

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
LEAVES = ("configs", "launch", "data_pipelines")
COPIED = ("soundstream_jax", *LEAVES, "tests")

CONSTRAINTS = ROOT / "launch/constraints.txt"

SMALL = (
  "--config=tiny",
  "--config.num_steps=2",
  "--config.batch_size=2",
  "--config.model.strides=(320,)",
  "--config.model.encoder_channels=2",
  "--config.model.decoder_channels=2",
  "--config.model.embedding_dim=8",
  "--config.quantizer.num_quantizers=2",
  "--config.quantizer.codebook_size=16",
  "--config.quantizer.kmeans_iterations=2",
  "--config.discriminator.wave_scales=1",
  "--config.discriminator.start_step=0",
  "--config.loss.spectral_windows=(512,)",
  "--config.data.crop_samples=3200",
  "--config.evaluation.num_clips=1",
  "--config.evaluation.clip_samples=9600",
  "--config.evaluation.every_steps=1",
)

# Of nobody: it has no entry among the users, and so no home.
USER = 54_321


def run(command, folder, *, code=0, **env):
  """Runs a command in a folder; returns its stdout and stderr."""
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  # One device, as a user's machine has; the tests' own processes see eight.
  quick = background_job.QUICK_COMPILATION
  environment |= {"XLA_FLAGS": quick, "JAX_PLATFORMS": "cpu", **env}
  done = subprocess.run(
    [str(word) for word in command],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == code, done.stdout + done.stderr
  return done.stdout + done.stderr


@functools.cache
def as_a_stranger():
  """Returns words before a command, which make it another user's.

  That user may read everything, as the folders that the tests run in are
  closed to others, and writes nowhere. Who may not become another user at least
  has no home.
  """
  words = [
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
  ]
  unset = ["env", "-u", "XDG_CACHE_HOME", "-u", "MPLCONFIGDIR"]
  if os.geteuid() == 0 and shutil.which("setpriv"):
    tried = subprocess.run([*words, "true"], capture_output=True)
    if tried.returncode == 0:
      return [*words, *unset, "-u", "HOME"]
  return [*unset, "HOME=/proc/nonexistent"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """Builds the wheel with the build system that pyproject.toml names."""
  folder = tmp_path_factory.mktemp("build")
  source = folder / "source"
  # A build inside the checkout would find what earlier builds left there.
  for name in COPIED:
    shutil.copytree(
      ROOT / name,
      source / name,
      ignore=shutil.ignore_patterns("__pycache__"),
    )
  for path in ROOT.iterdir():
    if path.is_file():
      shutil.copy(path, source)
  run(
    [sys.executable, "-m", "build", "--wheel", "--outdir", folder, source],
    folder,
  )
  (built,) = folder.glob("*.whl")
  return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  """Returns (folder of executables, site-packages) of a fresh environment."""
  root = tmp_path_factory.mktemp("venv")
  venv.create(root, with_pip=True)
  variables = {"base": str(root), "platbase": str(root)}
  site = pathlib.Path(sysconfig.get_path("purelib", "venv", variables))
  scripts = pathlib.Path(sysconfig.get_path("scripts", "venv", variables))
  install(scripts, wheel)
  return scripts, site


def install(scripts, what):
  """Installs by the constraints, as launch/README.md says."""
  pip = [scripts / "python", "-m", "pip", "install", "--quiet"]
  run([*pip, "-c", CONSTRAINTS, what], scripts)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
  """A folder of the stranger's, the only one, with two seconds of sound."""
  folder = tmp_path_factory.mktemp("workplace")
  noise = np.random.default_rng(0).normal(size=48_000) * 0.1
  wav.write(folder / "a.wav", noise.astype(np.float32), 24_000)
  if "setpriv" in as_a_stranger():
    for path in (folder, folder / "a.wav"):
      os.chown(path, USER, USER)
  return folder


@pytest.fixture
def stranger(installed, workplace):
  """Runs a command of the environment as a stranger; returns what it says.

  The command is a module of ours, or `soundstream` and its words.
  """

  def run_it(name, *words, **more):
    program = [installed[0] / "soundstream"]
    if name != "soundstream":
      program = [installed[0] / "python", "-m", f"soundstream_jax.{name}"]
    said = run([*as_a_stranger(), *program, *words], workplace, **more)
    assert "Traceback" not in said
    return said

  return run_it


@pytest.fixture
def python(installed):
  return installed[0] / "python"


def test_a_wheel_takes_no_name_but_its_own(wheel):
  names = zipfile.ZipFile(wheel).namelist()
  tops = {name.split("/")[0] for name in names}
  version = soundstream_jax.__version__
  information = f"soundstream_jax-{version}.dist-info"
  assert tops == {"soundstream_jax", information}
  assert any(name.endswith("LICENSE") for name in names)


def test_a_wheel_holds_every_source_file_and_nothing_else(wheel):
  packed = {
    name
    for name in zipfile.ZipFile(wheel).namelist()
    if ".dist-info/" not in name
  }
  folders = {"soundstream_jax": ROOT / "soundstream_jax"}
  folders |= {f"soundstream_jax/{leaf}": ROOT / leaf for leaf in LEAVES}
  assert packed == {
    f"{prefix}/{path.relative_to(folder).as_posix()}"
    for prefix, folder in folders.items()
    for path in folder.rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
  }


def test_the_leaves_are_found_inside_the_package_only(
  python, installed, tmp_path
):
  program = (
    "import importlib.util as u, soundstream_jax\n"
    "print(soundstream_jax.__file__)\n"
    f"for leaf in {LEAVES}:\n"
    "  print(u.find_spec('soundstream_jax.' + leaf).origin)\n"
    "  assert u.find_spec(leaf) is None, leaf\n"
  )
  for file in run([python, "-c", program], tmp_path).splitlines():
    assert pathlib.Path(file).is_relative_to(installed[1])


def test_the_command_knows_its_version(installed, tmp_path):
  printed = run([installed[0] / "soundstream", "--version"], tmp_path)
  assert printed.strip().endswith(soundstream_jax.__version__)


def test_an_extra_asks_for_what_it_says(installed):
  (metadata,) = importlib.metadata.distributions(
    name="soundstream_jax", path=[str(installed[1])]
  )
  extras = {
    extra: {line.split(">")[0] for line in metadata.requires if extra in line}
    for extra in ("plots", "tpu")
  }
  assert extras == {"plots": {"matplotlib"}, "tpu": {"libtpu", "requests"}}


def test_an_empty_environment_holds_no_extra(python, tmp_path):
  program = (
    "import importlib.util as u\n"
    "for name in ('matplotlib', 'libtpu', 'pytest', 'tensorboard', 'torch'):\n"
    "  assert u.find_spec(name) is None, name\n"
  )
  run([python, "-c", program], tmp_path)


def test_a_stranger_has_no_home_and_writes_in_his_folder_only(
  installed, workplace
):
  program = (
    "import os, sys, tempfile\n"
    "assert not os.path.isdir(os.path.expanduser('~'))\n"
    "for path in sys.argv[1:]:\n"
    "  try: tempfile.TemporaryFile(dir=path)\n"
    "  except OSError: print('no')\n"
    "  else: print('yes')\n"
  )
  words = [installed[0] / "python", "-c", program]
  said = run([*as_a_stranger(), *words, workplace, *installed], workplace)
  others = "no" if "setpriv" in as_a_stranger() else "yes"
  assert said.split() == ["yes", others, others]


# In this order: each uses what those before it made.


def test_a_stranger_prepares_data(stranger, workplace):
  said = stranger(
    "data_pipelines.prepare",
    *("--dataset=synthetic", "--minutes=1", "--out=data"),
  )
  assert "data is ready" in said
  assert said.count("soundstream_jax[plots]") == 1
  assert not (workplace / "data/datasheet.png").exists()


def test_a_stranger_trains_with_held_out_sound_and_pictures(
  stranger, workplace
):
  said = stranger(
    "train", "--workdir=run", "--config.data.sources=data", *SMALL
  )
  assert said.count("no cache 'xla'") == 1
  assert "step 2 | held out: log-mel distance" in said
  assert (workplace / "run/checkpoints/2").is_dir()
  (events,) = (workplace / "run/tensorboard").iterdir()
  # The pictures, and the sound, of TensorBoard.
  assert b"PNG" in events.read_bytes() and b"RIFF" in events.read_bytes()


def test_a_stranger_evaluates_without_pictures(stranger, workplace):
  said = stranger("evaluate", "--workdir=run", "--out=results")
  assert said.count("pictures are left out: pip install 'soundstream_jax[") == 1
  # What a metric or a baseline needs is named where it is not installed.
  assert said.count("pip install 'soundstream_jax[metrics]'") == 5
  results = workplace / "results"
  names = {path.name for path in results.iterdir() if path.is_file()}
  assert names == {
    *(".lock", "evaluation.json", "measurements.csv", "measurements.jsonl")
  }
  assert list(results.glob("sounds/*/original.wav"))


def test_a_stranger_encodes_and_decodes(stranger, workplace):
  model = "--model=run"
  stranger("soundstream", "encode", "a.wav", "a.sstr", model, "--bitrate=600")
  assert "600 bit/s" in stranger("soundstream", "info", "a.sstr")
  stranger("soundstream", "transcode", "a.sstr", "b.sstr", "--bitrate=300")
  stranger("soundstream", "export", "small", model)
  stranger("soundstream", "decode", "a.sstr", "a2.wav", "--model=small")
  stranger("soundstream", "tables", model, "--data=data")
  stranger("soundstream", "encode", "a.wav", "c.sstr", model, "--entropy")
  assert (workplace / "a2.wav").stat().st_size > 48_000


def test_a_stranger_trains_on_two_processes(stranger, workplace):
  said = stranger(
    "launch.local",
    *("--processes=2", "--", "--workdir=run", "--config.num_steps=3"),
  )
  assert "resuming" in said
  assert (workplace / "run/checkpoints/3").is_dir()


def test_a_stranger_asks_before_a_job(stranger):
  said = stranger("launch.preflight", *SMALL, "--topology=cpu:1")
  assert said.count("no cache 'preflight'") == 1
  assert "FLOPs per device" in said


def test_with_the_extra_a_stranger_gets_pictures(
  installed, wheel, stranger, workplace
):
  install(installed[0], f"{wheel}[plots]")
  stranger("evaluate", "--workdir=run", "--out=pictures")
  pictures = (workplace / "pictures").glob("*.png")
  assert {p.name for p in pictures} == {"curves.png", "spectrograms.png"}
  stranger(
    "data_pipelines.prepare",
    *("--dataset=synthetic", "--minutes=1", "--out=again"),
  )
  assert (workplace / "again/datasheet.png").stat().st_size > 20_000


def test_an_uninstalled_package_leaves_nothing(installed, tmp_path):
  scripts, site = installed
  # Comes last: the other tests need the package.
  run(
    [scripts / "python", "-m", "pip", "uninstall", "--yes", "soundstream_jax"],
    tmp_path,
  )
  left = [
    path.name
    for folder in (site, scripts)
    for path in folder.iterdir()
    if "soundstream" in path.name
  ]
  assert left == []
