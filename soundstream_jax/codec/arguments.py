"""The arguments of `soundstream` and its commands."""

import argparse
import math
from collections.abc import Sequence

import soundstream_jax
from soundstream_jax import errors

COMMANDS = {
  "encode": "audio file -> .sstr file",
  "decode": ".sstr file -> wav file",
  "transcode": ".sstr file -> one of a lower bitrate; needs no model",
  "info": "what an .sstr file holds; needs no model",
  "pin": "keep a checkpoint that files need",
}

_BITRATE = "bits per second of a channel"


class Parser(argparse.ArgumentParser):
  """Reports a mistake as an InputError, not as a page of usage."""

  def error(self, message: str):
    raise errors.InputError(f"{self.prog}: {message}. See {self.prog} --help.")


def parser(command: str) -> Parser:
  """Returns the parser of one command's arguments."""
  p = Parser(
    prog=f"soundstream {command}",
    description=COMMANDS[command],
    allow_abbrev=False,
  )
  p.set_defaults(command=command)
  if command == "info":
    p.add_argument("input", metavar="FILE")
    return p
  if command != "pin":
    p.add_argument("input", metavar="INPUT")
    p.add_argument("output", metavar="OUTPUT")
    p.add_argument(
      "--force", action="store_true", help="replace OUTPUT if it exists"
    )
  if command == "transcode":
    p.description += "; - is a pipe"
    p.add_argument(
      "--bitrate", required=True, type=_bitrate, metavar="BPS", help=_BITRATE
    )
    return p
  p.add_argument(
    "--model", required=True, metavar="WORKDIR", help="a training run's workdir"
  )
  if command == "pin":
    p.add_argument("--step", required=True, type=_step, metavar="N")
    p.add_argument("--remove", action="store_true", help="unpin it")
    return p
  p.add_argument("--step", type=_step, metavar="N", help="default: the newest")
  p.add_argument(
    "--weights",
    choices=("ema", "raw"),
    default="ema",
    help="averaged parameters (default) or raw ones",
  )
  p.add_argument(
    "--denoise",
    action="store_true",
    help="take noise away from speech, if the model does so in its "
    + {"encode": "encoder", "decode": "decoder"}[command],
  )
  {"encode": _add_encode, "decode": _add_decode}[command](p)
  return p


def _add_encode(p: Parser) -> None:
  p.add_argument(
    "--bitrate",
    type=_bitrate,
    metavar="BPS",
    help=f"{_BITRATE}; default: the model's highest",
  )
  p.add_argument(
    "--mono", action="store_true", help="mix the channels into one"
  )
  p.add_argument(
    "--raw",
    action="store_true",
    help="write packets of one size, a frame each, without any header",
  )


def _add_decode(p: Parser) -> None:
  p.add_argument(
    "--rate",
    choices=("model", "source"),
    default="model",
    help="sample rate of OUTPUT: the model's (default) or the source's",
  )
  p.add_argument(
    "--raw", action="store_true", help="read packets of encode --raw"
  )
  p.add_argument(
    "--bitrate", type=_bitrate, metavar="BPS", help="of raw packets"
  )


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Parses a command line.

  Raises:
    InputError: no or an unknown command, option or value; one line, with the
      nearest name.
    SystemExit: after --help and --version.
  """
  if not argv or argv[0] not in COMMANDS:
    top = Parser(
      prog="soundstream",
      usage="soundstream COMMAND [--help] ...",
      description="Encode audio into bits and back with a trained SoundStream.",
      epilog="commands: "
      + "; ".join(f"{name}: {text}" for name, text in COMMANDS.items()),
      allow_abbrev=False,
    )
    top.add_argument(
      "--version",
      action="version",
      version=f"soundstream_jax {soundstream_jax.__version__}",
    )
    known = ", ".join(COMMANDS)
    if not argv:
      raise errors.InputError(f"soundstream: no command. Use one of: {known}.")
    if not argv[0].startswith("-"):
      raise errors.InputError(
        f"soundstream: there is no command {argv[0]!r}."
        f"{errors.nearest(argv[0], COMMANDS)} Commands: {known}."
      )
    _check_options(top, argv)
    top.parse_args(argv)
    raise errors.InputError(f"soundstream: no command. Use one of: {known}.")
  chosen = parser(argv[0])
  _check_options(chosen, argv[1:])
  arguments, unknown = chosen.parse_known_args(argv[1:])
  if unknown:
    chosen.error(f"unexpected argument {unknown[0]!r}")
  return arguments


def _check_options(chosen: Parser, argv: Sequence[str]) -> None:
  """Refuses unknown options before argparse asks for missing ones."""
  options = [
    name for action in chosen._actions for name in action.option_strings
  ]
  for word in argv:
    if word == "--":
      return
    name = word.split("=")[0]
    if name.startswith("--") and name not in options:
      raise errors.InputError(
        f"{chosen.prog}: there is no option {name}."
        f"{errors.nearest(name, options)} Options: {', '.join(options)}."
      )


def _step(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
  return int(text)


def _bitrate(text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not math.isfinite(value):
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of bits/s")
  return value
