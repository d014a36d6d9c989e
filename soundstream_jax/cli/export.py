"""`soundstream export`: a checkpoint and its tables into a folder of files."""

import argparse

from soundstream_jax import console, paths
from soundstream_jax.cli import model_check, options
from soundstream_jax.codec.sstr.entropy import table_files

HELP = "a checkpoint -> a folder that needs no Orbax"


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument("output", type=options.path, metavar="FOLDER")
  options.add_model(parser)
  parser.add_argument(
    "--with_training",
    action="store_true",
    help="add what a run needs to go on from it (--config.init_from): raw "
    "parameters, codebooks' statistics, discriminators",
  )


def run(arguments: argparse.Namespace) -> None:
  """Writes the folder and prints its size and the model's fingerprint.

  Raises:
    InputError: no such checkpoint, a folder that holds a model already, or
      --with_training of an exported model that has none.
    DiskError: the disk cannot be written to.
  """
  from soundstream_jax.checkpoint import exported, origin, training_file

  paths.check_writable_folder(arguments.output, arguments.output)
  model = model_check.load(arguments)
  tables = table_files.all_for_model(arguments.model, model.fingerprint)
  beside = {table_files.name(made): made.to_bytes() for made in tables}
  arrays, more = model.to_host(), ""
  if arguments.with_training:
    data = origin.to_training_file(arguments.model, arrays)
    beside[training_file.NAME] = data
    more = f" and {len(data)} for training"
  size = exported.write(arguments.output, arrays, beside=beside)
  print(
    f"{console.shown(arguments.output)}: {size} bytes{more}, "
    f"step {model.step} ({model.weights}), "
    f"fingerprint {model.fingerprint.hex()[:12]}"
  )
