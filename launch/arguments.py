"""Reads a launcher's flags and, behind --, training's from one command line."""

from soundstream_jax import config, errors


def parse(argv: list[str]) -> list[str]:
  """Parses a launcher's flags; returns the command and training's, unread.

  For `app.run(main, flags_parser=arguments.parse)`.
  """
  end = argv.index("--") if "--" in argv else len(argv)
  return [*config.parse_flags(argv[:end]), *argv[end + 1 :]]


def check(training: list[str], *, example: str) -> None:
  """Refuses an empty command for training.

  Raises:
    InputError: nothing stands behind --.
  """
  if not training:
    raise errors.InputError(
      f"nothing to run. Put training's flags behind --, as in: {example} "
      "-- --config=tiny --workdir=DIR."
    )


def workdir(training: list[str]) -> str:
  """Returns training's --workdir.

  Raises:
    InputError: it has none, or a bucket's address.
  """
  found = None
  for word, following in zip(training, [*training[1:], None], strict=True):
    flag, given, value = word.lstrip("-").partition("=")
    if word.startswith("-") and flag == "workdir":
      found = value if given else following
  if not found:
    raise errors.InputError(
      "training has no --workdir. Give one behind --, in a folder that all "
      "hosts mount."
    )
  errors.check_mounted("--workdir", found)
  return found
