"""Flags of absl that are paths: `~` in them is a home."""

from absl import flags

from soundstream_jax import paths

# --help lists them as those of the command that calls `define`.
flags.disclaim_key_flags()


class Path(flags.ArgumentParser):
  """Reads one path; or several, as in DIR,DIR."""

  def __init__(self, *, several: bool = False):
    self.several = several

  def parse(self, argument: str) -> str:
    return (paths.expand_each if self.several else paths.expand)(argument)

  def flag_type(self) -> str:
    return "string"


def define(
  name: str,
  default: str | None,
  text: str,
  *,
  several: bool = False,
  flag_values: flags.FlagValues = flags.FLAGS,
) -> flags.FlagHolder[str]:
  """Defines a flag, as `flags.DEFINE_string` does.

  Args:
    name: of the flag.
    default: as it would be typed.
    text: for --help.
    several: may name several paths, with commas between.
    flag_values: that get the flag.
  """
  return flags.DEFINE(
    Path(several=several),
    name,
    default,
    text,
    flag_values=flag_values,
    serializer=flags.ArgumentSerializer(),
  )
