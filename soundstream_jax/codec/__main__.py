"""The command `soundstream`; `soundstream --help` lists what it does."""

import sys
from collections.abc import Sequence

from soundstream_jax import errors
from soundstream_jax.codec.cli import (
  decode,
  info,
  model_check,
  options,
  stream,
  tables,
)

COMMANDS = {
  "encode": decode.encode,
  "decode": decode.decode,
  "transcode": decode.transcode,
  "stream": stream.stream,
  "info": info.info,
  "tables": tables.tables,
  "export": decode.export,
  "pin": model_check.pin,
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command; bad input is one line on stderr and exit code 2."""
  return errors.run(_run, sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> None:
  parsed = options.parse(argv)
  COMMANDS[parsed.command](parsed)


if __name__ == "__main__":
  sys.exit(main())
