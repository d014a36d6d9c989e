"""The command `soundstream`: finds the command that is meant and runs it."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

import soundstream_jax
from soundstream_jax import errors
from soundstream_jax.cli import options

# Each is a module beside this one, which has HELP, add_arguments and run. A
# module is imported when its command is meant, or help on all of them.
COMMANDS = (
  "encode",
  "decode",
  "transcode",
  "stream",
  "info",
  "tables",
  "export",
  "import-torch",
  "pin",
  "tokens",
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command; bad input is one line on stderr and exit code 2."""
  return errors.run(_run, sys.argv[1:] if argv is None else argv)


def module_of(command: str) -> ModuleType:
  """Returns the module of one of COMMANDS."""
  name = command.replace("-", "_")
  return importlib.import_module(f"soundstream_jax.cli.{name}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Parses a command line.

  Raises:
    InputError: no or an unknown command, option or value; one line, with the
      nearest name.
    SystemExit: after --help and --version.
  """
  if argv and argv[0] in COMMANDS:
    return options.parse(_parser(argv[0]), argv[1:])
  known = ", ".join(COMMANDS)
  if argv and not argv[0].startswith("-"):
    raise errors.InputError(
      f"soundstream: there is no command {argv[0]!r}."
      f"{errors.nearest(argv[0], COMMANDS)} Commands: {known}."
    )
  if argv:
    options.parse(_parser_of_all(), argv)
  raise errors.InputError(f"soundstream: no command. Use one of: {known}.")


def _run(argv: Sequence[str]) -> int | None:
  arguments = parse(argv)
  return module_of(arguments.command).run(arguments)


def _parser(command: str) -> options.Parser:
  module = module_of(command)
  parser = options.Parser(
    prog=f"soundstream {command}",
    description=module.HELP,
    allow_abbrev=False,
  )
  parser.set_defaults(command=command)
  module.add_arguments(parser)
  return parser


def _parser_of_all() -> options.Parser:
  """Returns the parser of what stands before a command."""
  helps = [f"{name}: {module_of(name).HELP}" for name in COMMANDS]
  parser = options.Parser(
    prog="soundstream",
    usage="soundstream COMMAND [--help] ...",
    description="Encode audio into bits and back with a trained SoundStream.",
    epilog=f"commands: {'; '.join(helps)}",
    allow_abbrev=False,
  )
  parser.add_argument(
    "--version",
    action="version",
    version=f"soundstream_jax {soundstream_jax.__version__}",
  )
  return parser
