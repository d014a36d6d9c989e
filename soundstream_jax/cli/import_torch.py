"""`soundstream import-torch`: PyTorch's parameters into a model of ours."""

import argparse
import pathlib

from soundstream_jax import console, errors, paths
from soundstream_jax.cli import options

HELP = "a state dict of an exported model.py -> an exported model"


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument("output", type=options.path, metavar="FOLDER")
  parser.add_argument(
    "--from",
    dest="source",
    required=True,
    type=options.path,
    metavar="FOLDER",
    help="of soundstream export --format=torch: its config.json",
  )
  parser.add_argument(
    "--weights_file",
    type=options.path,
    metavar="FILE",
    help="a state dict as safetensors; default: model.safetensors of --from",
  )


def run(arguments: argparse.Namespace) -> None:
  """Writes the folder and prints its size and the model's fingerprint.

  Raises:
    InputError: no such folder, a file or a tensor that does not fit, or a
      folder that holds a model already.
    DiskError: the disk cannot be written to.
  """
  paths.check_writable_folder(arguments.output, arguments.output)
  source = pathlib.Path(arguments.source)
  _check(f"--from={arguments.source}", source)
  weights = source / "model.safetensors"
  if arguments.weights_file is not None:
    weights = pathlib.Path(arguments.weights_file)
    _check(f"--weights_file={arguments.weights_file}", weights)
  from soundstream_jax.checkpoint import exported
  from soundstream_jax.export.torch import importing

  model = importing.read(source, weights)
  size = exported.write(arguments.output, model)
  print(
    f"{console.shown(arguments.output)}: {size} bytes, step {model.step} "
    f"({model.weights}), fingerprint "
    f"{exported.fingerprint_of(model).hex()[:12]}"
  )


def _check(name: str, path: pathlib.Path) -> None:
  if not paths.readable(name, path):
    raise errors.InputError(f"{name}: there is none. Name another.")
