"""python -m soundstream_jax.launch.check -- FLAGS

Checks the flags of `soundstream_jax.train` as launchers do, and starts nothing:
exit code 0, or 2 and one line that says what to type. With --devices=N and
--processes=N also whether that many can share the batch.
"""

import sys

from absl import app, flags

from soundstream_jax import errors
from soundstream_jax.launch import arguments

_DEVICES = flags.DEFINE_integer(
  "devices", None, "Of the whole job.", lower_bound=1
)
_PROCESSES = flags.DEFINE_integer(
  "processes", None, "Of the whole job; default one.", lower_bound=1
)


def main(argv):
  sys.exit(errors.run(_check, argv[1:]))


def _check(words: list[str]) -> None:
  training = arguments.check(words, example="check")
  if _DEVICES.value is not None:
    arguments.check_devices(
      training.config, _DEVICES.value, processes=_PROCESSES.value or 1
    )


if __name__ == "__main__":
  app.run(main, flags_parser=arguments.parse)
