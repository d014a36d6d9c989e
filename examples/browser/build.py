"""Puts the page together: its files, onnxruntime-web from npm, and a model.

    python examples/browser/build.py --model=MODEL --out=out/browser

OUT/page is what is served. MODEL is a folder of `soundstream export
--format=onnx`, or any model that this command takes, which is then run.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from soundstream_jax import console, errors

HERE = pathlib.Path(__file__).parent
STATIC = ("index.html", "style.css", "*.js", "sstr/*.js")
NPM_FILES = ("package.json", "package-lock.json")
RUNTIME = (
  "ort.wasm.bundle.min.mjs",
  "ort-wasm-simd-threaded.mjs",
  "ort-wasm-simd-threaded.wasm",
)
MODEL_FILES = ("export.json", "encode_step.onnx", "decode_step.onnx")
EXAMPLE = "example.wav"
EXAMPLE_S = 6


def main(argv: list[str] | None = None) -> None:
  """Builds the folder that is served.

  Raises:
    InputError: no model, no npm, or an export that cannot be used.
  """
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--model", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  arguments = parser.parse_args(argv)
  page = arguments.out / "page"
  with (
    errors.writing("the page", arguments.out),
    tempfile.TemporaryDirectory() as scratch,
  ):
    model = exported(arguments.model, scratch)
    runtime = install(arguments.out / "packages")
    if page.exists():
      shutil.rmtree(page)
    copy_static(page)
    copy_runtime(runtime, page / "ort")
    copy_model(model, page / "model")
  print(f"{console.shown(page)}: the page, ready to be served")


def copy_static(page: pathlib.Path) -> None:
  """Copies the page's own files."""
  for pattern in STATIC:
    for path in HERE.glob(pattern):
      target = page / path.relative_to(HERE)
      target.parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(path, target)


def install(packages: pathlib.Path) -> pathlib.Path:
  """Installs what the lock names, if it is not there; returns node_modules.

  Raises:
    InputError: there is no npm, or it fails.
  """
  installed = packages / "node_modules"
  if (
    all(
      (packages / name).is_file()
      and (packages / name).read_bytes() == (HERE / name).read_bytes()
      for name in NPM_FILES
    )
    and (installed / ".package-lock.json").is_file()
  ):
    return installed
  if not shutil.which("npm"):
    raise errors.InputError(
      "npm is not installed, which fetches onnxruntime-web. Install it "
      "(apt-get install nodejs npm), and run make browser again."
    )
  packages.mkdir(parents=True, exist_ok=True)
  for name in NPM_FILES:
    shutil.copyfile(HERE / name, packages / name)
  # Just the locked versions, whose digests npm checks, and no scripts.
  done = subprocess.run(
    ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
    cwd=packages,
    capture_output=True,
    text=True,
  )
  if done.returncode:
    last = (done.stderr.strip() or "no reason given").splitlines()[-1]
    raise errors.InputError(f"npm ci failed in {packages}: {last}")
  return installed


def copy_runtime(installed: pathlib.Path, folder: pathlib.Path) -> None:
  """Copies the three files of onnxruntime-web that the page loads."""
  folder.mkdir(parents=True)
  for name in RUNTIME:
    source = installed / "onnxruntime-web/dist" / name
    shutil.copyfile(source, folder / name)


def exported(model: pathlib.Path, scratch: str) -> pathlib.Path:
  """Returns a folder of the ONNX format: `model` itself, or made of it.

  Raises:
    InputError: no such model, or one that cannot be exported.
  """
  if all((model / name).is_file() for name in MODEL_FILES):
    return model
  if not model.is_dir():
    raise errors.InputError(
      f"{console.shown(model)} does not exist. Run make demo, which trains a "
      "small model, or name another: make browser MODEL=FOLDER."
    )
  folder = pathlib.Path(scratch, "onnx")
  command = [sys.executable, "-m", "soundstream_jax.cli", "export", folder]
  options = [f"--model={model}", "--format=onnx"]
  if subprocess.run([*command, *options]).returncode:
    raise errors.InputError(
      f"{console.shown(model)} was not exported; the reason is above."
    )
  return folder


def copy_model(model: pathlib.Path, folder: pathlib.Path) -> None:
  """Copies the graphs of streams, and makes a sound to try them with."""
  from soundstream_jax import config as config_lib
  from soundstream_jax.audio import wav
  from soundstream_jax.export import golden

  folder.mkdir(parents=True)
  for name in MODEL_FILES:
    shutil.copyfile(model / name, folder / name)
  about = json.loads((model / "export.json").read_text())
  made = config_lib.from_dict(about["config"]).rates
  sound = golden.sound(made.sample_rate_hz, made.hop_samples, EXAMPLE_S)
  wav.write(folder / EXAMPLE, sound, made.sample_rate_hz)


if __name__ == "__main__":
  sys.exit(errors.run(main))
