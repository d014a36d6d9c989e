"""python -m soundstream_jax.launch.sweep --sweep=NAME --preset=tiny --out=DIR -- FLAGS

Trains every point of a sweep, evaluates each the same way and writes one table
of results. FLAGS are training's, for all points. What the sweep is going to cost
is shown first (--dry_run stops there); the same command again runs only what
is missing, changed or, with --retry, failed. --status shows how far it is.
"""

import contextlib
import pathlib
import re
import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags

from soundstream_jax import errors, folder_lock
from soundstream_jax.launch import arguments
from soundstream_jax.launch.sweep import folder, session
from soundstream_jax.settings import path_flags

LAUNCHERS = ("local", "slurm", "gke")

_SWEEP = path_flags.define(
  "sweep", None, "Name of a sweep, or path to a .py file with sweep(preset)."
)
_PRESET = path_flags.define(
  "preset", None, "Size of all points: a preset's name or path, as in tiny."
)
_OUT = path_flags.define("out", None, "Folder of the sweep.")
_LAUNCHER = flags.DEFINE_enum(
  "launcher", "local", LAUNCHERS, "What runs the points."
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run",
  False,
  "Show the points, and what a cluster would be given; write and run nothing.",
  allow_override=True,
)
_AT_ONCE = flags.DEFINE_integer(
  "max_parallel",
  None,
  "Points at a time; default 1 on this machine, any number on a cluster.",
  lower_bound=1,
)
_STATUS = flags.DEFINE_bool("status", False, "Show how far the points are.")
_RETRY = flags.DEFINE_bool("retry", False, "Run points that failed, too.")
_ONLY = flags.DEFINE_string(
  "only", None, "Run only points whose names this regular expression finds."
)
_EVALUATE = flags.DEFINE_string(
  "evaluate",
  "",
  "Flags of every point's evaluation, as a shell has them, such as "
  "--bitrates=all.",
)
_BASELINES = flags.DEFINE_string(
  "baselines", "", "Other codecs to measure once, on the clips of the points."
)


def main(argv):
  sys.exit(errors.run(_main, argv[1:]))


def parse(argv: list[str]) -> list[str]:
  """Reads this command's flags, and those of the launcher that it names."""
  end = argv.index("--") if "--" in argv else len(argv)
  words = " ".join(argv[1:end])
  if re.search(r"--?launcher[= ]slurm\b", words):
    from soundstream_jax.launch import slurm  # noqa: F401
  elif re.search(r"--?launcher[= ]gke\b", words):
    from soundstream_jax.launch import gke  # noqa: F401
  return arguments.parse(argv)


def _main(words: list[str]) -> int:
  if not _OUT.value:
    raise errors.InputError("--out is missing. Name a folder for the sweep.")
  errors.check_mounted("--out", _OUT.value)
  out = pathlib.Path(_OUT.value).absolute()
  if _STATUS.value:
    return session.show_status(out)
  for name, value in (("sweep", _SWEEP.value), ("preset", _PRESET.value)):
    if not value:
      raise errors.InputError(
        f"--{name} is missing, as in --sweep=codebook_size --preset=tiny."
      )
  try:
    only = re.compile(_ONLY.value or "")
  except re.error as error:
    raise errors.InputError(
      f"--only={_ONLY.value} is not a regular expression ({error})."
    ) from None
  folder.check_own(out)
  opened = session.open_(
    _SWEEP.value, _PRESET.value, out, words, evaluation=_EVALUATE.value
  )
  opened.show_plan(_LAUNCHER.value)
  if _DRY_RUN.value:
    return opened.show_script(_LAUNCHER.value, at_once=_AT_ONCE.value)
  with contextlib.ExitStack() as stack:
    with errors.writing("the sweep", out):
      stack.enter_context(
        folder_lock.held(
          out / folder.LOCK,
          what=f"--out={out}: another sweep's command is at work there",
        )
      )
    return opened.launch(
      _LAUNCHER.value,
      only=only,
      retry=_RETRY.value,
      at_once=_AT_ONCE.value,
      others=_BASELINES.value,
    )


if __name__ == "__main__":
  app.run(main, flags_parser=parse)
