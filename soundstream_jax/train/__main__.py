"""python -m soundstream_jax.train --config=NAME --workdir=DIR

The same command again resumes. `--config.a.b=value` overrides a field. On a
cluster every process runs this command; launch/README.md says how.
"""

import os
import pathlib
import sys

import jax
from absl import app, flags, logging

from soundstream_jax import caches, errors
from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.devices import distributed, host_memory
from soundstream_jax.train import loop

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Where checkpoints, logs and the configuration go."
)
flags.DEFINE_string(
  "config",
  None,
  "Preset name or path to a .py file; --config.a.b=value overrides a field. "
  "May be left out when the workdir holds a run.",
)
flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, where the cluster does not say it.",
)
flags.DEFINE_integer("num_processes", None, "Of the whole job, likewise.")
flags.DEFINE_integer("process_id", None, "Of this process, from 0, likewise.")
flags.DEFINE_integer(
  "heartbeat_seconds",
  distributed.HEARTBEAT_SECONDS,
  "A process that is silent for so long is dead, and the job ends.",
  lower_bound=1,
)


def main(_):
  logging.set_verbosity(logging.INFO)
  # JAX and Orbax remark on much; a run logs one line per event.
  logging.get_absl_handler().addFilter(_from_this_package)
  sys.exit(errors.run(_train))


def _train() -> int:
  if not _WORKDIR.value:
    raise errors.InputError("--workdir is missing. Name a folder for the run.")
  errors.check_mounted("--workdir", _WORKDIR.value)
  workdir = pathlib.Path(_WORKDIR.value)
  for folder in (workdir, *workdir.parents):
    if folder.is_file():
      raise errors.InputError(
        f"--workdir={workdir}: {folder} is a file, not a folder."
      )
  config = config_lib.from_flags(folder_lib.read_config(workdir))
  if (jax.config.jax_platforms or "cpu") == "cpu":
    host_memory.keep()
  distributed.initialize(
    coordinator=flags.FLAGS.coordinator,
    num_processes=flags.FLAGS.num_processes,
    process_id=flags.FLAGS.process_id,
    heartbeat_seconds=flags.FLAGS.heartbeat_seconds,
  )
  _use_compilation_cache(config.compilation_cache)
  return loop.train(config, workdir)


def _use_compilation_cache(where: str) -> None:
  """Keeps compiled programs between runs; a damaged entry is compiled anew."""
  where = os.environ.get("JAX_COMPILATION_CACHE_DIR", where)
  # JAX itself may know what to do with an address.
  if "://" not in where:
    where = caches.folder("xla", where)
  jax.config.update("jax_compilation_cache_dir", str(where) if where else None)
  jax.config.update("jax_raise_persistent_cache_errors", False)


def _from_this_package(record) -> bool:
  return record.levelno > logging.converter.STANDARD_INFO or (
    "soundstream_jax" in record.pathname
  )


if __name__ == "__main__":
  app.run(main, flags_parser=config_lib.parse_flags)
