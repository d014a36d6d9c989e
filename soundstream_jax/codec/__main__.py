"""The command `soundstream`; `soundstream --help` lists what it does."""

import sys
from collections.abc import Sequence

from soundstream_jax import errors
from soundstream_jax.codec.cli import decode as commands
from soundstream_jax.codec.cli import info as summary
from soundstream_jax.codec.cli import model_check as models
from soundstream_jax.codec.cli import options as arguments
from soundstream_jax.codec.cli import stream as pipe
from soundstream_jax.codec.cli import tables as measure_tables

COMMANDS = {
  "encode": commands.encode,
  "decode": commands.decode,
  "transcode": commands.transcode,
  "stream": pipe.stream,
  "info": summary.info,
  "tables": measure_tables.tables,
  "export": commands.export,
  "pin": models.pin,
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command; bad input is one line on stderr and exit code 2."""
  return errors.run(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> None:
  parsed = arguments.parse(argv)
  COMMANDS[parsed.command](parsed)


if __name__ == "__main__":
  sys.exit(main())
