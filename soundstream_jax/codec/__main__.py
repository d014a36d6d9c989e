"""`python -m soundstream_jax.codec` is the command `soundstream`."""

import sys

from soundstream_jax.codec.cli import main as cli

main = cli.main

if __name__ == "__main__":
  sys.exit(main())
