"""`python -m soundstream_jax.cli` is the command `soundstream`."""

import sys
from collections.abc import Sequence

from soundstream_jax import endings


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command; that of this process where `argv` is None."""
  if argv is None:
    endings.obey()  # before anything else is imported
  from soundstream_jax.cli import main as cli

  return cli.main(argv)


if __name__ == "__main__":
  sys.exit(main())
