"""`soundstream export`: a checkpoint and its tables into a folder of files."""

import argparse

from soundstream_jax import console, paths
from soundstream_jax.codec.cli import model_check, options
from soundstream_jax.codec.sstr.entropy import table_files

HELP = "a checkpoint -> a folder of two files that needs no Orbax"


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument("output", type=options.path, metavar="FOLDER")
  options.add_model(parser)


def run(arguments: argparse.Namespace) -> None:
  """Writes the folder and prints its size and the model's fingerprint.

  Raises:
    InputError: no such checkpoint, or a folder that holds a model already.
    DiskError: the disk cannot be written to.
  """
  from soundstream_jax.checkpoint import exported

  paths.check_writable_folder(arguments.output, arguments.output)
  model = model_check.load(arguments)
  tables = table_files.all_for_model(arguments.model, model.fingerprint)
  size = exported.write(
    arguments.output,
    model.to_host(),
    beside={table_files.name(made): made.to_bytes() for made in tables},
  )
  print(
    f"{console.shown(arguments.output)}: {size} bytes, step {model.step} ({model.weights}), "
    f"fingerprint {model.fingerprint.hex()[:12]}"
  )
