"""Reads a launcher's flags and, behind --, training's from one command line.

Training's flags are checked here as far as no device and no dataset is needed,
so that a mistake shows before a job waits in a queue, not after.
"""

import copy
import dataclasses
import pathlib

from absl import flags

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths
from soundstream_jax.checkpoint import folder
from soundstream_jax.data import kinds
from soundstream_jax.settings import constraints, presets, training_flags
from soundstream_jax.settings import mesh as mesh_lib


@dataclasses.dataclass(frozen=True)
class Training:
  """What the flags behind -- ask for."""

  workdir: str
  config: config_lib.Config


def parse(argv: list[str]) -> list[str]:
  """Parses a launcher's flags; returns the command and training's, unread.

  For `app.run(main, flags_parser=arguments.parse)`.
  """
  end = argv.index("--") if "--" in argv else len(argv)
  return [*config_lib.parse_flags(argv[:end]), *argv[end + 1 :]]


def check(words: list[str], *, example: str) -> Training:
  """Reads training's flags, and refuses what training would refuse.

  Where the workdir can be seen from here and holds a run, it is compared with
  that, and --config may be left out. Datasets lie where the job will run.

  Args:
    words: what stood behind --.
    example: a launcher's flags, for the message where that is nothing.

  Raises:
    InputError: with the flag and what to type instead.
  """
  before = presets.given()
  if before.name is not None or before.overrides:
    raise errors.InputError(
      "--config stands before --, where nothing reads it. Training's flags go "
      f"behind, as in: {example} -- --config=tiny --workdir=DIR."
    )
  if not words:
    raise errors.InputError(
      f"nothing to run. Put training's flags behind --, as in: {example} "
      "-- --config=tiny --workdir=DIR."
    )
  values = training_values()
  _, given = presets.read(["train", *words], values)
  for name in training_flags.OF_A_PROCESS:
    if values[name].present:
      raise errors.InputError(
        f"--{name} is for processes that are started by hand; each of a job "
        "gets its own. Leave it out."
      )
  if not values.workdir:
    raise errors.InputError(
      "training has no --workdir. Give one behind --, in a folder that all "
      "hosts mount."
    )
  errors.check_mounted("--workdir", values.workdir)
  config = _config(given, pathlib.Path(values.workdir))
  return Training(workdir=values.workdir, config=config)


def check_devices(
  config: config_lib.Config, devices: int, *, processes: int
) -> None:
  """Refuses a mesh and a batch that a job's devices cannot share.

  Args:
    config: of training.
    devices: of the whole job.
    processes: likewise.

  Raises:
    InputError: with the sizes that work.
  """
  data, fsdp = mesh_lib.axes(config.mesh, devices, few=processes == 1)
  mesh_lib.check_batch(
    config.batch_size, data * fsdp, microbatches=config.microbatches
  )


def training_values() -> flags.FlagValues:
  """Returns training's flags, unparsed: its own and those of its log."""
  values = training_flags.define(flags.FlagValues())
  for flag in flags.FLAGS.flags_by_module_dict().get("absl.logging", ()):
    # A copy: what training logs is not what this launcher logs.
    values[flag.name] = copy.deepcopy(flag)
  return values


def _config(given: presets.Given, workdir: pathlib.Path) -> config_lib.Config:
  """Returns the configuration that training would start with.

  Raises:
    InputError: it could not start.
  """
  paths.exists(f"--workdir={workdir}", workdir)
  try:
    saved = folder.read_config(workdir)
    steps = folder.steps(workdir)
  except OSError as error:
    raise errors.InputError(
      f"--workdir={workdir} cannot be read: {error.strerror}."
    ) from None
  if saved is None and given.name is None:
    raise errors.InputError(
      f"--config is missing, and no run is seen from here in {workdir}. Use "
      f"one of: {', '.join(config_lib.preset_files())}."
    )
  config = config_lib.from_flags(saved, given)
  kinds.check(config)
  errors.check_mounted("init_from", config.init_from)
  if saved is not None:
    config_lib.check_resume(workdir, config_lib.from_dict(saved), config)
  if not config.init_from and not steps:
    constraints.check_kmeans(config)
  if config.checkpoint.best_of:
    from soundstream_jax.checkpoint import best  # it loads jax

    best.check_metric(config.checkpoint.best_of)
  return config
