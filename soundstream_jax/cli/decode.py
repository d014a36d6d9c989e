"""`soundstream decode`: an .sstr file or raw packets into a wav file.

Audio libraries and jax are imported by the run, so that --help and a mistyped
path answer at once.
"""

import argparse

from soundstream_jax import errors, whole_files
from soundstream_jax.cli import model_check, options
from soundstream_jax.cli.files import paths, pipes
from soundstream_jax.codec.sstr import files
from soundstream_jax.codec.sstr.entropy import table_files

HELP = ".sstr file -> wav file"


def add_arguments(parser: options.Parser) -> None:
  parser.description += "; or a folder of them -> a folder; - is a pipe"
  options.add_files(parser)
  options.add_model(parser)
  options.add_denoise(parser, "decoder")
  parser.add_argument(
    "--rate",
    choices=("model", "source"),
    default="model",
    help="sample rate of OUTPUT: the model's (default) or the source's",
  )
  parser.add_argument(
    "--raw", action="store_true", help="read packets of encode --raw"
  )
  parser.add_argument(
    "--bitrate", type=options.bitrate, metavar="BPS", help="of raw packets"
  )


def run(arguments: argparse.Namespace) -> int:
  """Decodes and prints how long the audio is; damage is named on stderr.

  Returns:
    The exit code: 0, or that of damaged input.

  Raises:
    InputError: what cannot be decoded or written, or another model's file; of
      a folder, at the end.
  """
  from soundstream_jax.audio import wav
  from soundstream_jax.cli.files import folder

  _check_raw(arguments)
  suffix = ".packets" if arguments.raw else ".sstr"
  is_file = not paths.is_folder(arguments) and arguments.output != pipes.PIPE
  if is_file and not whole_files.is_device(arguments.output):
    wav.check_name(arguments.output)
  task = folder.Task(
    verb="decode",
    of=frozenset({suffix}),
    kinds=f"{suffix} files are",
    suffix=".wav",
  )
  return folder.perform(task, arguments, lambda: _begin(arguments))


def _begin(arguments: argparse.Namespace):
  """Returns what decodes one file, as `folder.DoOne`."""
  from soundstream_jax.cli.files import decoding

  model = model_check.load(arguments)
  model.check_denoise(arguments.denoise, "decoder")
  how = decoding.Options(
    denoise=arguments.denoise,
    source_rate=arguments.rate == "source",
    bitrate_bps=arguments.bitrate,
    check=lambda name, header: model_check.check(
      name, header, model, arguments
    ),
    tables=lambda identity: table_files.read(arguments.model, identity),
  )

  def decode_one(path, name, target, target_name):
    with files.opened(path, name=name) as source:
      return decoding.decode(
        model, how, source, target, source_name=name, target_name=target_name
      )

  return decode_one


def _check_raw(arguments: argparse.Namespace) -> None:
  """Refuses options that do not go together."""
  if arguments.raw and arguments.bitrate is None:
    raise errors.InputError(
      "soundstream decode: raw packets do not say their bitrate. Give the "
      "--bitrate that they were encoded at."
    )
  if arguments.raw and arguments.rate == "source":
    raise errors.InputError(
      "soundstream decode: raw packets do not say the source's rate. Use "
      "--rate=model."
    )
  if arguments.bitrate is not None and not arguments.raw:
    raise errors.InputError(
      "soundstream decode: a file says its bitrate; --bitrate is for --raw. "
      "Use soundstream transcode for a lower one."
    )
