"""`soundstream transcode`: a file or a stream to a lower bitrate."""

import argparse
from typing import BinaryIO

from soundstream_jax import console, endings
from soundstream_jax.cli import options, printing
from soundstream_jax.cli.files import paths, pipes
from soundstream_jax.codec.sstr import files
from soundstream_jax.codec.sstr import transcode as transcode_lib

HELP = ".sstr file -> one of a lower bitrate; needs no model"


def add_arguments(parser: options.Parser) -> None:
  parser.description += "; or a folder of them -> a folder; - is a pipe"
  options.add_files(parser)
  parser.add_argument(
    "--bitrate",
    required=True,
    type=options.bitrate,
    metavar="BPS",
    help=options.BITRATE,
  )


def run(arguments: argparse.Namespace) -> int:
  """Cuts layers off and prints the bitrate that is left.

  Returns:
    The exit code: 0, or that of damaged input.

  Raises:
    InputError: files that cannot be read or written, or another bitrate; of a
      folder, at the end.
  """
  from soundstream_jax.cli.files import folder

  if arguments.input == pipes.PIPE:
    return _pass_on(arguments)
  task = folder.Task(
    verb="transcode",
    of=frozenset({".sstr"}),
    kinds=".sstr files are",
    suffix=".sstr",
  )
  return folder.perform(task, arguments, lambda: _begin(arguments))


def _begin(arguments: argparse.Namespace):
  """Returns what transcodes one file, as `folder.DoOne`."""

  def transcode_one(path, name, target, target_name):
    with files.opened(path, name=name) as source:
      return _transcode(arguments.bitrate, source, target, target_name)

  return transcode_one


def _pass_on(arguments: argparse.Namespace) -> int:
  """Transcodes what comes through a pipe, as it comes."""
  paths.check(arguments)
  # The output first: what goes wrong while reading leaves none.
  with (
    paths.target(arguments.output) as target,
    pipes.Input() as source,
    files.naming(pipes.NAME),
  ):
    name = console.shown(arguments.output)
    done = _transcode(arguments.bitrate, source, target, name)
    # A stream that a signal ended is passed on; a file would seem whole.
    if source.code:
      raise endings.Stopped(source.code)
  code = printing.report_damage(pipes.NAME, done.damages)
  printing.say(done.lines, arguments.output)
  return code


def _transcode(
  bitrate_bps: float, source: BinaryIO, target: BinaryIO, name: str
) -> printing.Done:
  damages = []
  header = transcode_lib.transcode(
    source, target, bitrate_bps=bitrate_bps, report=damages.append
  )
  layers = f"{header.num_quantizers} layers, {printing.nominal(header)}"
  samples = header.source_samples or 0  # of a stream nobody knows
  return printing.Done(
    seconds=samples / header.source_rate_hz,
    lines=(f"{name}: {layers}",),
    damages=tuple(damages),
  )
