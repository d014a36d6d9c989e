"""`soundstream encode`: an audio file, or a folder of them, into .sstr files.

With --raw, into packets of one size. Audio libraries and jax are imported by
the run, so that --help and a mistyped path answer at once.
"""

import argparse
import pathlib

from soundstream_jax import errors, whole_files
from soundstream_jax.cli import model_check, options
from soundstream_jax.codec.sstr.entropy import table_files

HELP = "audio file -> .sstr file"


def add_arguments(parser: options.Parser) -> None:
  parser.description += "; or a folder of them -> a folder; - is a pipe"
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


def run(arguments: argparse.Namespace) -> int:
  """Encodes and prints what was read and written.

  Returns:
    The exit code: 0, or that of damaged input.

  Raises:
    InputError: what cannot be encoded or written; of a folder, at the end.
  """
  from soundstream_jax.cli.files import folder

  suffix = ".packets" if arguments.raw else ".sstr"
  task = folder.Task(
    verb="encode",
    of=None,
    kinds="audio is",
    suffix=suffix,
    seekable=True,
  )
  return folder.perform(task, arguments, lambda: _begin(arguments, suffix))


def _begin(arguments: argparse.Namespace, suffix: str):
  """Returns what encodes one file, as `folder.DoOne`."""
  from soundstream_jax.audio import folders, reading
  from soundstream_jax.cli.files import encoding

  output = pathlib.Path(arguments.output)
  if folders.is_audio(output) and not (
    output.is_dir() or whole_files.is_device(output)
  ):
    raise errors.InputError(
      f"{output}: what is encoded is no {output.suffix} file. Name it "
      f"{output.stem}{suffix}."
    )
  model = model_check.load(arguments)
  tables = None
  if arguments.entropy:
    if arguments.raw:
      raise errors.InputError(
        "soundstream encode: raw packets are of one size; --entropy is not for "
        "--raw."
      )
    tables = table_files.for_model(arguments.model, model.fingerprint)
  how = encoding.Options(
    bitrate_bps=arguments.bitrate,
    denoise=arguments.denoise,
    mono=arguments.mono,
    raw=arguments.raw,
    tables=tables,
  )
  encoding.check(model, how)

  def encode_one(path, name, target, target_name):
    with reading.opened(path, name=name) as sound:
      return encoding.encode(model, how, sound, target, name=target_name)

  return encode_one
