"""`soundstream encode`: an audio file, or a folder of them, into .sstr files.

With --raw, into packets of one size. Audio libraries and jax are imported by
the run, so that --help and a mistyped path answer at once.
"""

import argparse
import functools
import pathlib

from soundstream_jax import errors
from soundstream_jax.codec.cli import model_check, options, paths
from soundstream_jax.codec.sstr.entropy import table_files

HELP = "audio file -> .sstr file"


def add_arguments(parser: options.Parser) -> None:
  parser.description += "; or a folder of them -> a folder"
  options.add_files(parser)
  options.add_model(parser)
  options.add_denoise(parser, "encoder")
  options.add_bitrate(parser)
  parser.add_argument(
    "--mono", action="store_true", help="mix the channels into one"
  )
  parser.add_argument(
    "--entropy",
    action="store_true",
    help="fewer bytes, with the tables that soundstream tables measured",
  )
  parser.add_argument(
    "--raw",
    action="store_true",
    help="write packets of one size, a frame each, without any header",
  )


def run(arguments: argparse.Namespace) -> None:
  """Encodes and prints what was read and written.

  Raises:
    InputError: what cannot be encoded or written; of a folder, at the end.
  """
  if pathlib.Path(arguments.input).is_dir():
    _encode_folder(arguments)
    return
  source, target = paths.checked(arguments)
  encode_one = _encoder(arguments)
  print("\n".join(encode_one(source, target).lines))


def _encode_folder(arguments: argparse.Namespace) -> None:
  from soundstream_jax.codec.cli import folder_encode

  todo, skipped = folder_encode.pairs(
    pathlib.Path(arguments.input),
    pathlib.Path(arguments.output),
    suffix=".packets" if arguments.raw else ".sstr",
    force=arguments.force,
  )
  encode_one = _encoder(arguments) if todo else None
  folder_encode.encode(encode_one, todo, skipped=skipped, force=arguments.force)


def _encoder(arguments: argparse.Namespace):
  """Returns `file_encode.encode` with the model and the options."""
  from soundstream_jax.codec.cli import file_encode

  model = model_check.load(arguments)
  tables = None
  if arguments.entropy:
    if arguments.raw:
      raise errors.InputError(
        "soundstream encode: raw packets are of one size; --entropy is not for "
        "--raw."
      )
    tables = table_files.for_model(arguments.model, model.fingerprint)
  how = file_encode.Options(
    bitrate_bps=arguments.bitrate,
    denoise=arguments.denoise,
    mono=arguments.mono,
    raw=arguments.raw,
    tables=tables,
  )
  file_encode.check(model, how)
  return functools.partial(file_encode.encode, model, how)
