"""python -m soundstream_jax.launch.slurm --nodes=4 --time=2-00:00:00 -- FLAGS

Writes slurm.sbatch with its values filled in, and submits it: training runs
with FLAGS on every node, saves and stops when SLURM wants the nodes back, and
is requeued until it is done. `--dry_run` prints the script instead.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

from absl import app, flags

from soundstream_jax import config as config_lib
from soundstream_jax import console, errors, paths, whole_files
from soundstream_jax.launch import arguments, names
from soundstream_jax.settings import mesh as mesh_lib
from soundstream_jax.settings import path_flags

TEMPLATE = pathlib.Path(__file__).with_name("slurm.sbatch")
WRITTEN = "# Written by soundstream_jax.launch.slurm."

_TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}")
# What a line of #SBATCH can hold without quotes.
_OPTION = re.compile(r"([a-z][a-z-]+)(?:=([\w.,:;/=@%+*&|()\[\]-]+))?")

_NODES = flags.DEFINE_integer("nodes", None, "Nodes.", lower_bound=1)
_TASKS = flags.DEFINE_integer(
  "tasks_per_node",
  None,
  "Processes on each node: one per GPU, or one on CPUs.",
  lower_bound=1,
)
_CPUS = flags.DEFINE_integer(
  "cpus_per_task",
  None,
  "CPUs of each process. Rounding depends on their number.",
  lower_bound=1,
)
_TIME_LIMIT = flags.DEFINE_string(
  "time", None, "Limit of one start, as in 30 (minutes) or 1-12:00:00."
)
_SAVE_SECONDS = flags.DEFINE_integer(
  "save_seconds",
  120,
  "How long before its end a job is asked to save.",
  lower_bound=1,
  upper_bound=65535,
)
_RESTARTS = flags.DEFINE_integer(
  "restarts",
  None,
  "How often in a row training may fail before the job ends. A job that was "
  "asked to stop, and saved, has not failed.",
  lower_bound=0,
)
_NAME = flags.DEFINE_string("name", "soundstream", "The job's name.")
_SBATCH = flags.DEFINE_multi_string(
  "sbatch",
  [],
  "Any other option of sbatch, as in --sbatch=partition=gpu; repeatable.",
)
_SCRIPT = path_flags.define(
  "script", None, "Where the script goes; default NAME.sbatch."
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print the script; write and submit nothing."
)


def main(argv):
  sys.exit(errors.run(_launch, argv[1:]))


def _launch(words: list[str]) -> None:
  training = arguments.check(words, example="--nodes=2")
  chosen = options()
  check_devices(training.config, chosen)
  script = render(
    words,
    options=chosen,
    python=sys.executable,
    restarts=_RESTARTS.value,
  )
  if _DRY_RUN.value:
    print(script, end="")
    return
  path = pathlib.Path(_SCRIPT.value or f"{_NAME.value}.sbatch")
  write(path, script)
  print(submit(path), end="")


def render(
  training: list[str],
  *,
  options: dict[str, str | None],
  python: str,
  restarts: int | None = None,
  points: pathlib.Path | None = None,
) -> str:
  """Returns the batch script.

  Args:
    training: flags of soundstream_jax.train.
    options: of sbatch, name -> value or None; they replace the template's.
    python: the interpreter, the same on all nodes.
    restarts: failures in a row; default the template's.
    points: of an array, a file that says what each of its tasks runs.
  """
  shebang, *lines = TEMPLATE.read_text().splitlines()
  code = lines.index("set -u")
  chosen = {**_template_options(), **options}
  values = [f"PYTHON={console.quoted(python)}"]
  if restarts is not None:
    values.append(f"RESTARTS={restarts}")
  if points is None:
    values.append(f"set -- {' '.join(map(console.quoted, training))}")
  else:
    values.append(f"SOUNDSTREAM_POINTS={console.quoted(points)}")
  return "\n".join(
    [
      shebang,
      WRITTEN,
      *(
        f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}"
        for name, value in chosen.items()
      ),
      "",
      *values,
      *lines[code - 1 :],
      "",
    ]
  )


def _template_options() -> dict[str, str]:
  """Returns the options of sbatch that the template has."""
  found = {}
  for line in TEMPLATE.read_text().splitlines():
    if line.startswith("#SBATCH --"):
      name, _, value = line.removeprefix("#SBATCH --").partition("=")
      found[name] = value
  return found


def check_devices(
  config: config_lib.Config, options: dict[str, str | None]
) -> None:
  """Refuses a batch that the job's tasks cannot share.

  A task has one device: its GPU, or all of its CPUs.

  Args:
    config: of training.
    options: of sbatch, those of the template left out.

  Raises:
    InputError: with the sizes that work.
  """
  options = {**_template_options(), **options}
  nodes, per_node = options["nodes"], options["ntasks-per-node"]
  if "ntasks" in options or not (nodes.isdecimal() and per_node.isdecimal()):
    return  # as in --sbatch=ntasks=8: only the cluster knows
  tasks = int(nodes) * int(per_node)
  if "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
    # sbatch passes the environment on, and with it more devices.
    mesh_lib.check_batch(config.batch_size, tasks)
    return
  arguments.check_devices(config, tasks, processes=tasks)


def options() -> dict[str, str | None]:
  """Returns the options of sbatch that the flags name.

  Raises:
    InputError: a value that sbatch would not read as it was meant.
  """
  names.check("--name", _NAME.value)
  if _TIME_LIMIT.value:
    _check_time(_TIME_LIMIT.value)
  given = {
    "job-name": _NAME.value,
    "nodes": _NODES.value,
    "ntasks-per-node": _TASKS.value,
    "cpus-per-task": _CPUS.value,
    "time": _TIME_LIMIT.value,
    "signal": f"TERM@{_SAVE_SECONDS.value}",
  }
  found = {name: str(v) for name, v in given.items() if v is not None}
  for option in _SBATCH.value:
    match = _OPTION.fullmatch(option)
    if match is None:
      raise errors.InputError(
        f"--sbatch={option} is not an option of sbatch. Write its long name "
        "without dashes and its value without spaces, as in "
        "--sbatch=partition=gpu."
      )
    name, value = match.groups()
    if name in given:
      raise errors.InputError(
        f"--sbatch={option}: {name} has a flag of its own. See --help."
      )
    found[name] = value
  return found


def _check_time(text: str) -> None:
  """Refuses what is no time, and a time in which nothing can be trained."""
  if not _TIME.fullmatch(text):
    raise errors.InputError(
      f"--time={text} is not a time. Write minutes, HH:MM:SS or D-HH:MM:SS."
    )
  days, dash, rest = text.rpartition("-")
  parts = [int(part) for part in rest.split(":")]
  # With days the first part is hours; alone or in a pair it is minutes.
  if not dash and len(parts) < 3:
    parts.insert(0, 0)
  hours, minutes, seconds = [*parts, 0, 0][:3]
  seconds += 60 * (minutes + 60 * (hours + 24 * int(days or 0)))
  # SLURM may send the signal a minute early.
  if seconds <= _SAVE_SECONDS.value + 60:
    raise errors.InputError(
      f"--time={text} is {seconds} s, and the job is asked to save up to "
      f"{_SAVE_SECONDS.value + 60} s before. Use a longer --time, or a smaller "
      "--save_seconds."
    )


def write(path: pathlib.Path, script: str) -> None:
  """Writes the script over an older one of ours, and over nothing else.

  Raises:
    InputError, DiskError: it cannot be written, or the file is not ours.
  """
  paths.check_writable_file(f"--script={path}", path)
  try:
    if path.is_file() and WRITTEN not in path.read_text():
      raise errors.InputError(
        f"--script={path} exists and was not written by this command. Choose "
        "another name."
      )
    whole_files.write(path, script)
  except (OSError, UnicodeDecodeError) as error:
    raise errors.InputError(f"--script={path}: {error}.") from None


def submit(
  path: pathlib.Path, *more: str, folder: pathlib.Path | None = None
) -> str:
  """Submits a script; returns what sbatch answers.

  Args:
    path: of the script.
    more: options of sbatch, as on its command line.
    folder: where the logs go; default the working directory.

  Raises:
    InputError: there is no sbatch here, or it refuses the script.
  """
  if shutil.which("sbatch") is None:
    raise errors.InputError(
      f"{path} is written, but there is no command sbatch here. Submit it on a "
      f"login node of the cluster: sbatch {path}"
    )
  # A flag that has become a job's name must stay one: no shell, one path.
  done = subprocess.run(
    ["sbatch", *more, str(path.absolute())],
    cwd=folder,
    capture_output=True,
    text=True,
    errors="backslashreplace",
    check=False,
  )
  if done.returncode:
    raise errors.InputError(f"sbatch refuses {path}: {done.stderr.strip()}")
  return done.stdout


def restarts() -> int | None:
  """Returns the failures in a row that the flags allow; None: the template's."""
  return _RESTARTS.value


def name() -> str:
  """Returns the job's name."""
  return _NAME.value


if __name__ == "__main__":
  app.run(main, flags_parser=arguments.parse)
