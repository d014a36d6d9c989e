"""Options that several commands of `soundstream` share, and their parser."""

import argparse
import math
import re
from collections.abc import Sequence

from soundstream_jax import errors, paths
from soundstream_jax.settings import numbers

BITRATE = "bits per second of a channel"
WORKDIR = "a training run's workdir"


class Parser(argparse.ArgumentParser):
  """Reports a mistake as an InputError, not as a page of usage."""

  def error(self, message: str):
    raise errors.InputError(
      f"{self.prog}: {message.rstrip('.')}. See {self.prog} --help."
    )


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
  """Parses what follows a command's name.

  Raises:
    InputError: an unknown option, with the nearest name, or a bad value.
    SystemExit: after --help and --version.
  """
  _check_options(parser, argv)
  arguments, unknown = parser.parse_known_args(argv)
  if unknown:
    parser.error(f"unexpected argument {unknown[0]!r}")
  return arguments


def add_files(parser: Parser) -> None:
  """Adds INPUT, OUTPUT and --force."""
  parser.add_argument("input", type=path, metavar="INPUT")
  parser.add_argument("output", type=path, metavar="OUTPUT")
  parser.add_argument(
    "--force", action="store_true", help="replace OUTPUT if it exists"
  )


def add_model(parser: Parser, *, required: bool = True) -> None:
  """Adds --model, --step and --weights."""
  parser.add_argument(
    "--model",
    required=required,
    type=path,
    metavar="FOLDER",
    help=f"{WORKDIR}, or an exported model",
  )
  parser.add_argument(
    "--step",
    type=step,
    metavar="N",
    help="of a checkpoint, or 'best'; default: the newest",
  )
  parser.add_argument(
    "--weights",
    choices=("ema", "raw"),
    help="averaged parameters (default) or raw ones",
  )


def add_denoise(parser: Parser, side: str) -> None:
  """Adds --denoise, which is for models that denoise on a side."""
  parser.add_argument(
    "--denoise",
    action="store_true",
    help=f"take noise away from speech, if the model does so in its {side}",
  )


def add_bitrate(parser: Parser) -> None:
  """Adds --bitrate of what is encoded."""
  parser.add_argument(
    "--bitrate",
    type=bitrate,
    metavar="BPS",
    help=f"{BITRATE}; default: the model's highest",
  )


def path(text: str) -> str:
  """Reads a path, with `~` expanded, for argparse."""
  return paths.argument(text)


def paths_of(text: str) -> str:
  """Reads paths with commas between, likewise."""
  return paths.arguments(text)


def step(text: str) -> int | str:
  """Reads the step of a checkpoint, or 'best', for argparse."""
  from soundstream_jax.checkpoint import best

  try:
    return best.parse(text)
  except errors.InputError as error:
    raise argparse.ArgumentTypeError(str(error)) from None


def bitrate(text: str) -> float:
  """Reads bits per second, for argparse."""
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not math.isfinite(value):
    short = re.sub(r"\s*(bps|bits?/s)$", "", text)
    meant = numbers.example(short, float).partition("write ")[2]
    raise argparse.ArgumentTypeError(
      f"{text!r} is not a number of bits/s, as in {meant or 3000}"
    )
  return value


def _check_options(parser: Parser, argv: Sequence[str]) -> None:
  """Refuses unknown options before argparse asks for missing ones."""
  names = [name for action in parser._actions for name in action.option_strings]
  for word in argv:
    if word == "--":
      return
    if re.match(r"-[^-\d]", word) and word != "-h":
      raise errors.InputError(
        f"{parser.prog}: there is no option {word}; options begin with --. For "
        f"a file of this name write ./{word}, or -- before it."
      )
    name = word.split("=")[0]
    if name.startswith("--") and name not in names:
      raise errors.InputError(
        f"{parser.prog}: there is no option {name}."
        f"{errors.nearest(name, names)} Options: {', '.join(names)}."
      )
