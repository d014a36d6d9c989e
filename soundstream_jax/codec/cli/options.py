"""The arguments of `soundstream` and its commands."""

import argparse
import math
from collections.abc import Sequence

import soundstream_jax
from soundstream_jax import errors
from soundstream_jax.codec.cli import stream, tables

COMMANDS = {
  "encode": "audio file -> .sstr file",
  "decode": ".sstr file -> wav file",
  "transcode": ".sstr file -> one of a lower bitrate; needs no model",
  "stream": "sound in a pipe -> packets in a pipe, and back",
  "info": "what an .sstr file holds; needs no model",
  "tables": "measure how often codes occur, for encode --entropy",
  "export": "a checkpoint -> a folder of two files that needs no Orbax",
  "pin": "keep a checkpoint that files need",
}

_BITRATE = "bits per second of a channel"
_WORKDIR = "a training run's workdir"


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
  _ADDITIONS[command](p)
  return p


def _add_info(p: Parser) -> None:
  p.add_argument("input", metavar="FILE")


def _add_pin(p: Parser) -> None:
  p.add_argument("--model", required=True, metavar="WORKDIR", help=_WORKDIR)
  p.add_argument("--step", required=True, type=_step, metavar="N")
  p.add_argument("--remove", action="store_true", help="unpin it")


def _add_transcode(p: Parser) -> None:
  p.description += "; - is a pipe"
  _add_files(p)
  p.add_argument(
    "--bitrate", required=True, type=_bitrate, metavar="BPS", help=_BITRATE
  )


def _add_export(p: Parser) -> None:
  p.add_argument("output", metavar="FOLDER")
  _add_model(p)


def _add_tables(p: Parser) -> None:
  _add_model(p)
  tables.add_arguments(p)


def _add_stream(p: Parser) -> None:
  _add_model(p)
  _add_denoise(p, "encoder, or with --decode in its decoder")
  _add_bitrate(p)
  stream.add_arguments(p)


def _add_files(p: Parser) -> None:
  p.add_argument("input", metavar="INPUT")
  p.add_argument("output", metavar="OUTPUT")
  p.add_argument(
    "--force", action="store_true", help="replace OUTPUT if it exists"
  )


def _add_model(p: Parser) -> None:
  p.add_argument(
    "--model",
    required=True,
    metavar="FOLDER",
    help=f"{_WORKDIR}, or an exported model",
  )
  p.add_argument("--step", type=_step, metavar="N", help="default: the newest")
  p.add_argument(
    "--weights",
    choices=("ema", "raw"),
    help="averaged parameters (default) or raw ones",
  )


def _add_denoise(p: Parser, side: str) -> None:
  p.add_argument(
    "--denoise",
    action="store_true",
    help=f"take noise away from speech, if the model does so in its {side}",
  )


def _add_bitrate(p: Parser) -> None:
  p.add_argument(
    "--bitrate",
    type=_bitrate,
    metavar="BPS",
    help=f"{_BITRATE}; default: the model's highest",
  )


def _add_encode(p: Parser) -> None:
  p.description += "; or a folder of them -> a folder"
  _add_files(p)
  _add_model(p)
  _add_denoise(p, "encoder")
  _add_bitrate(p)
  p.add_argument(
    "--mono", action="store_true", help="mix the channels into one"
  )
  p.add_argument(
    "--entropy",
    action="store_true",
    help="fewer bytes, with the tables that soundstream tables measured",
  )
  p.add_argument(
    "--raw",
    action="store_true",
    help="write packets of one size, a frame each, without any header",
  )


def _add_decode(p: Parser) -> None:
  _add_files(p)
  _add_model(p)
  _add_denoise(p, "decoder")
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


_ADDITIONS = {
  "encode": _add_encode,
  "decode": _add_decode,
  "transcode": _add_transcode,
  "stream": _add_stream,
  "info": _add_info,
  "tables": _add_tables,
  "export": _add_export,
  "pin": _add_pin,
}


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
