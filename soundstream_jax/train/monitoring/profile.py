"""A trace of some steps, for TensorBoard's profiler or Perfetto.

`--config.profile_steps=10:13` writes steps 10 to 13, both included, under
WORKDIR/profile, every process into a folder of its own. Steps count from 1, as
in the log: a first step would show compilation more than anything else. A
trace that cannot be written is a warning.
"""

import pathlib
import threading

import jax
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.devices import distributed

# Longer than a disk takes for a trace; then training goes on without it.
WRITE_SECONDS = 60


class Profile:
  """Starts and stops the one trace of a run, if it wants one."""

  def __init__(self, config: config_lib.Config, workdir: pathlib.Path):
    self._steps = config_lib.parse_profile_steps(config.profile_steps)
    self._folder = workdir / "profile" / f"process_{jax.process_index()}"
    self._running = False

  def before(self, step: int) -> None:
    """Starts, at the first step or where a resumed run comes upon them."""
    if step in self._steps and not self._running:
      options = jax.profiler.ProfileOptions()
      # Traces of Python's calls hook every thread of the process, also those
      # that decode audio, and show nothing of a device.
      options.python_tracer_level = 0
      try:
        jax.profiler.start_trace(str(self._folder), profiler_options=options)
      except Exception as error:
        self._steps = range(0)
        logging.warning("no profile: it cannot be started (%s)", error)
        return
      self._running = True

  def after(self, step: int, results) -> None:
    """Stops behind the last step, once its results are there."""
    if self._running and step == self._steps[-1]:
      jax.block_until_ready(results)
      self.close()

  def close(self) -> None:
    """Writes what there is, also where the run stops in between."""
    if not self._running:
      return
    self._running = False
    failures = []
    # Training does not wait for ever for a disk that does not answer.
    writing = threading.Thread(target=_stop, args=(failures,), daemon=True)
    writing.start()
    writing.join(timeout=WRITE_SECONDS)
    if writing.is_alive():
      failures.append(f"the disk has not answered for {WRITE_SECONDS} s")
    elif failures:
      failures.append(errors.space(self._folder))
    if failures:
      logging.warning(
        "the profile of steps could not be written to %s (%s)",
        self._folder,
        "; ".join(failures),
      )
    elif distributed.is_primary():
      logging.info("profile of steps written to %s", self._folder.parent)


def _stop(failures: list[str]) -> None:
  try:
    jax.profiler.stop_trace()
  except Exception as error:
    failures.append(" ".join(str(error).split()))
