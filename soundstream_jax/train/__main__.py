"""python -m soundstream_jax.train --config=NAME --workdir=DIR

The same command again resumes. `--config.a.b=value` overrides a field. On a
cluster every process runs this command; launch/README.md says how.
"""

import os
import pathlib
import sys

import jax
from absl import app, flags, logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.devices import distributed, host_memory
from soundstream_jax.settings import training_flags
from soundstream_jax.train import loop

training_flags.define()


def main(_):
  logging.set_verbosity(logging.INFO)
  # JAX and Orbax remark on much; a run logs one line per event.
  logging.get_absl_handler().addFilter(_from_this_package)
  sys.exit(errors.run(_train))


def _train() -> int:
  if not flags.FLAGS.workdir:
    raise errors.InputError("--workdir is missing. Name a folder for the run.")
  errors.check_mounted("--workdir", flags.FLAGS.workdir)
  workdir = pathlib.Path(flags.FLAGS.workdir)
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
  if not where or "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  if where == "auto":
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    where = os.path.join(cache, "soundstream_jax", "xla")
  jax.config.update("jax_compilation_cache_dir", where)
  jax.config.update("jax_raise_persistent_cache_errors", False)


def _from_this_package(record) -> bool:
  return record.levelno > logging.converter.STANDARD_INFO or (
    "soundstream_jax" in record.pathname
  )


if __name__ == "__main__":
  app.run(main, flags_parser=config_lib.parse_flags)
