"""The command that trains: flags, the job's processes, and how they end."""

import os
import pathlib
import sys
from typing import NoReturn

import jax
from absl import app, flags, logging

from soundstream_jax import caches, console, errors, os_signals
from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.devices import (
  distributed,
  ending,
  host_memory,
  joining,
)
from soundstream_jax.train import loop

# For a process that joins its job only to say that it has failed: the others
# may still be starting.
_BRIEFLY_SECONDS = 30


def run(request: os_signals.StopRequest) -> NoReturn:
  """Trains as the command line says, and ends the process.

  Args:
    request: to stop; heard since the process's start.
  """

  console.prepare()

  def main(_) -> NoReturn:
    logging.set_verbosity(logging.INFO)
    # JAX and Orbax remark on much; a run logs one line per event.
    logging.get_absl_handler().addFilter(_is_for_users)
    sys.unraisablehook = _print_but_for_late_answers
    try:
      code = _train(request)
    except Exception as error:
      ending.fail(
        error, join=lambda code: _join(_BRIEFLY_SECONDS, give_up_code=code)
      )
    jax.distributed.shutdown()
    # Not by way of threads that a stop, or a broken disk, has left behind.
    ending.end(code)

  app.run(main, flags_parser=config_lib.parse_flags)


def _train(request: os_signals.StopRequest) -> int:
  if not flags.FLAGS.workdir:
    raise errors.InputError("--workdir is missing. Name a folder for the run.")
  errors.check_mounted("--workdir", flags.FLAGS.workdir)
  workdir = pathlib.Path(flags.FLAGS.workdir)
  with errors.reading(f"--workdir={workdir}"):
    for folder in (workdir, *workdir.parents):
      if folder.is_file():
        raise errors.InputError(
          f"--workdir={workdir}: {folder} is a file, not a folder."
        )
  # What is wrong with flags shows before other processes are waited for.
  config = config_lib.from_flags() if flags.FLAGS.config else None
  if (jax.config.jax_platforms or "cpu") == "cpu":
    host_memory.keep()
  _join(flags.FLAGS.join_seconds)
  if config is None:
    config = config_lib.from_flags(
      distributed.from_primary(lambda: folder_lib.read_config(workdir))
    )
  _use_compilation_cache(config.compilation_cache)
  return loop.train(
    config, workdir, request=request, take_over=flags.FLAGS.take_over
  )


def _join(seconds: int, *, give_up_code: int = 1) -> None:
  joining.initialize(
    coordinator=flags.FLAGS.coordinator,
    num_processes=flags.FLAGS.num_processes,
    process_id=flags.FLAGS.process_id,
    heartbeat_seconds=flags.FLAGS.heartbeat_seconds,
    join_seconds=seconds,
    give_up_code=give_up_code,
  )


def _use_compilation_cache(where: str) -> None:
  """Keeps compiled programs between runs; a damaged entry is compiled anew."""
  where = os.environ.get("JAX_COMPILATION_CACHE_DIR", where)
  # JAX itself may know what to do with an address.
  if "://" not in where:
    where = caches.folder("xla", where)
  jax.config.update("jax_compilation_cache_dir", str(where) if where else None)
  jax.config.update("jax_raise_persistent_cache_errors", False)


def _is_for_users(record) -> bool:
  """Drops remarks of libraries, and errors that Orbax also raises."""
  ours = "soundstream_jax" in record.pathname
  if record.exc_info and not ours and "orbax" in record.pathname:
    return False
  return ours or record.levelno > logging.converter.STANDARD_INFO


def _print_but_for_late_answers(unraisable) -> None:
  """Prints an exception that nobody can catch, as Python does.

  TensorStore calls back from threads of its own; once a write has failed,
  nobody waits for the others, and Orbax has closed the loop that would.
  """
  if str(unraisable.exc_value) != "Event loop is closed":
    sys.__unraisablehook__(unraisable)
