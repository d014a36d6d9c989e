"""python -m soundstream_jax.train --config=NAME --workdir=DIR

The same command again resumes. `--config.a.b=value` overrides a field. On a
cluster every process runs this command; launch/README.md says how.
"""

from soundstream_jax import os_signals
from soundstream_jax.settings import training_flags


def main() -> None:
  """Runs `command`, with a request to stop heard from here on."""
  with os_signals.StopRequest() as request:
    training_flags.define()
    # jax and the rest take seconds to load; a stop meanwhile is kept.
    from soundstream_jax.train import command

    command.run(request)


if __name__ == "__main__":
  main()
