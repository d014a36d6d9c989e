"""`soundstream transcode`: a file or a stream to a lower bitrate."""

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import endings, whole_files
from soundstream_jax.codec.cli import options, paths, pipes, printing
from soundstream_jax.codec.sstr import files
from soundstream_jax.codec.sstr import transcode as transcode_lib

HELP = ".sstr file -> one of a lower bitrate; needs no model"


def add_arguments(parser: options.Parser) -> None:
  parser.description += "; - is a pipe"
  options.add_files(parser)
  parser.add_argument(
    "--bitrate",
    required=True,
    type=options.bitrate,
    metavar="BPS",
    help=options.BITRATE,
  )


def run(arguments: argparse.Namespace) -> None:
  """Cuts layers off and prints the bitrate that is left.

  Raises:
    InputError: files that cannot be read or written, or another bitrate.
  """
  damages = []
  with _opened(arguments) as (source, target):
    header = transcode_lib.transcode(
      source, target, bitrate_bps=arguments.bitrate, report=damages.append
    )
  printing.report_damage(arguments.input, damages)
  # A pipe carries the stream alone.
  out = sys.stderr if arguments.output == paths.PIPE else sys.stdout
  print(
    f"{arguments.output}: {header.num_quantizers} layers, "
    f"{printing.nominal(header)}",
    file=out,
  )


@contextlib.contextmanager
def _opened(
  arguments: argparse.Namespace,
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
  """Opens input and output, each a file or a pipe."""
  source, target = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
  with contextlib.ExitStack() as stack:
    if arguments.input != paths.PIPE:
      paths.check_input(source)
    if arguments.output != paths.PIPE:
      paths.check_output(target, source, force=arguments.force)
    # The output first: what goes wrong while reading leaves none.
    if arguments.output == paths.PIPE:
      written = pipes.output()
    else:
      written = stack.enter_context(whole_files.opened(target))
    if arguments.input == paths.PIPE:
      read = stack.enter_context(pipes.Input())
    else:
      read = stack.enter_context(files.opened(source))
    yield read, written
    # A stream that a signal ended is passed on; a file would seem whole.
    if arguments.input == paths.PIPE and read.code:
      raise endings.Stopped(read.code)
