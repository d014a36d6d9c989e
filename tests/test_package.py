"""Laws of the built package: what a user who installs the wheel gets.

The wheel is built from a copy of the checkout, as an installer would, and put
into a fresh virtual environment. Only its dependencies are borrowed: a .pth
file names the packages of the environment that runs the tests. Everything runs
far from the checkout.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import soundstream_jax

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
LEAVES = ("configs", "launch", "data_pipelines")
COPIED = ("soundstream_jax", *LEAVES, "tests")

SMALL = (
  "--config=tiny",
  "--config.num_steps=1",
  "--config.batch_size=1",
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
  "--config.evaluation.clip_samples=3200",
  "--config.logging.tensorboard=false",
  "--config.compilation_cache=",
)


def run(command, folder, **env):
  """Runs a command in a folder; returns its stdout."""
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  # One device, as a user's machine has; the tests' own processes see eight.
  environment |= {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", **env}
  done = subprocess.run(
    [str(word) for word in command],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


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
  run([scripts / "python", "-m", "pip", "install", "--no-deps", wheel], root)
  (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
  return scripts, site


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


def test_an_installed_package_prepares_data_and_trains_a_step(
  installed, python, tmp_path
):
  run(
    [
      python,
      "-m",
      "soundstream_jax.data_pipelines.prepare",
      "--dataset=synthetic",
      "--kind=noises",
      "--minutes=0.4",
      "--out=data",
    ],
    tmp_path,
  )
  run(
    [
      python,
      "-m",
      "soundstream_jax.train",
      "--workdir=run",
      "--config.data.sources=data",
      *SMALL,
    ],
    tmp_path,
  )
  assert (tmp_path / "run/checkpoints/1").is_dir()


def test_an_uninstalled_package_leaves_nothing(installed, tmp_path):
  scripts, site = installed
  # Comes last: the other tests need the package.
  (site / "dependencies.pth").unlink()
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
