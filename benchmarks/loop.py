"""python -m benchmarks.loop: how long the device waits between two steps.

Runs training as `python -m soundstream_jax.train` does, on synthetic sound, and
notes when each step was handed to the device and when it was done. What lies
between the end of one step and the start of the next, the device waits; the
table has it by what the loop did there: nothing else, writing metrics, starting
a checkpoint, or going on while one is written.
"""

import pathlib
import queue
import statistics
import sys
import tempfile
import threading
import time
from unittest import mock

import jax
from absl import app, flags, logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.devices import host_memory
from soundstream_jax.settings import presets
from soundstream_jax.train import compiled, loop

_PRESET = flags.DEFINE_string("preset", "soundstream_24khz", "What to train.")
_BATCH = flags.DEFINE_integer("batch", 1, "Clips of a second.")
_STEPS = flags.DEFINE_integer("steps", 24, "To train.")
_SAVE = flags.DEFINE_integer("save_every", 6, "Steps from save to save.")
_LOG = flags.DEFINE_integer("log_every", 2, "Steps from line to line.")


class _Steps:
  """When each step was handed over, and when it was done, in seconds."""

  def __init__(self):
    self.started, self.done = [], []
    self._queue = queue.Queue()
    self._thread = threading.Thread(target=self._wait, daemon=True)
    self._thread.start()

  def watch(self, step):
    """Returns a compiled.Compiled that is watched."""

    def call(*arguments):
      self.started.append(time.perf_counter())
      state, metrics = step(*arguments)
      self._queue.put(metrics)
      return state, metrics

    return call

  def finish(self) -> None:
    self._queue.put(None)
    self._thread.join()

  def _wait(self):
    while (metrics := self._queue.get()) is not None:
      jax.block_until_ready(metrics)
      self.done.append(time.perf_counter())


def main(_):
  sys.exit(errors.run(_measure))


def _measure() -> None:
  if jax.config.jax_platforms in (None, "", "cpu"):
    host_memory.keep()  # as training does
  logging.set_verbosity(logging.WARNING)
  steps = _Steps()
  original = compiled.Compiled

  def watched(*arguments, **options):
    return steps.watch(original(*arguments, **options))

  with (
    tempfile.TemporaryDirectory() as folder,
    mock.patch.object(compiled, "Compiled", watched),
  ):
    folder = pathlib.Path(folder)
    _prepare(folder / "voices")
    values = presets.load(_PRESET.value)
    values.update_from_flattened_dict(
      {
        "batch_size": _BATCH.value,
        "num_steps": _STEPS.value,
        # Short, but enough frames for any preset's codebooks.
        "quantizer.kmeans_batches": 32,
        "data.sources": str(folder / "voices"),
        "data.crop_samples": values.audio.sample_rate_hz,
        "discriminator.start_step": 0,
        "checkpoint.every_steps": _SAVE.value,
        "checkpoint.every_seconds": 0.0,
        "logging.every_steps": _LOG.value,
        "evaluation.every_steps": 10 * _STEPS.value,
        "evaluation.at_steps": (),
      }
    )
    loop.train(config_lib.from_dict(values), folder / "workdir")
    steps.finish()
  _report(steps)


def _prepare(out: pathlib.Path) -> None:
  prepare.main(
    ["", "--dataset=synthetic", "--kind=voices", "--minutes=2", f"--out={out}"]
  )


def _report(steps: _Steps) -> None:
  # The first two also compile, or wait for what does.
  length = statistics.median(
    done - max(started, before)
    for started, done, before in zip(
      steps.started[2:], steps.done[2:], steps.done[1:], strict=False
    )
  )
  print(
    f"a step takes {1e3 * length:.0f} ms; between two the device waits, ms:"
  )
  print(f"{'what the loop did':32}{'steps':>6}{'median':>9}{'most':>9}")
  groups = {}
  for i in range(2, len(steps.done)):
    wait = max(0.0, steps.started[i] - steps.done[i - 1])
    groups.setdefault(_between(i), []).append(wait)
  for name, waits in groups.items():
    print(
      f"{name:32}{len(waits):6}{1e3 * statistics.median(waits):9.1f}"
      f"{1e3 * max(waits):9.1f}{max(waits) / length:8.1%} of a step"
    )


def _between(done: int) -> str:
  """What the loop did after `done` steps, before the next."""
  if done % _SAVE.value == 0:
    return "started a checkpoint"
  if done > _SAVE.value and done % _SAVE.value == 1:
    return "went on while one was written"
  if (done - 1) % _LOG.value == 0:
    return "wrote metrics"
  return "nothing else"


if __name__ == "__main__":
  app.run(main)
