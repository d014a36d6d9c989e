"""python -m soundstream_jax.evaluate.report --runs=DIR,DIR --out=report.html

Makes one page of runs, which needs nothing but itself: curves of quality over
bitrate, tables, training, and sounds to compare. --runs takes workdirs, folders
of `evaluate --out` and sweeps' folders.
"""

import os
import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, logging

from soundstream_jax import console, errors, paths, whole_files
from soundstream_jax.evaluate.report import drawing, gathering, page
from soundstream_jax.settings import lists, path_flags

_RUNS = path_flags.define(
  "runs",
  None,
  "Workdirs, folders of evaluate --out, sweeps' folders; commas between.",
  several=True,
)
_OUT = path_flags.define("out", "report.html", "File of the page.")


def main(arguments):
  logging.set_verbosity(logging.ERROR)
  sys.exit(errors.run(_report, arguments[1:]))


def _report(arguments: list[str]) -> None:
  if arguments:
    raise errors.InputError(
      f"{console.shown(arguments[0])} is no flag. Put commas between the "
      "folders: --runs=DIR,DIR."
    )
  if not _RUNS.value:
    raise errors.InputError(
      "--runs is missing. Name workdirs, folders of evaluate --out, or sweeps'."
    )
  drawing.check_possible()
  paths.check_writable_file(f"--out={_OUT.value}", _OUT.value)
  named = _RUNS.value
  # A comma may belong to a name.
  there = os.path.lexists(named)
  found = gathering.gather([named] if there else lists.split(named))
  text = page.render(found)
  whole_files.write(_OUT.value, text)
  print(f"{console.shown(_OUT.value)}: {len(text.encode()) / 1e6:.2g} MB")


if __name__ == "__main__":
  app.run(main)
