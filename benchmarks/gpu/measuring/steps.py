"""The whole training step: its time, its trace, and what its losses are."""

import functools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import sides
from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import compiling, layers, traces
from soundstream_jax import config as config_lib
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed
from soundstream_jax.launch.preflight import program_cost
from soundstream_jax.train import step as step_lib

WARM_UP = 3
TRACED = 3
# Between a step in bfloat16 and the same in float32, of each loss.
LOSS_TOLERANCE = 0.02

Values = dict[str, Any]


class Step:
  """A compiled step with a state and audio, which runs again and again."""

  def __init__(self, config: config_lib.Config):
    sounds = sides.Ours(config)  # compiles nothing by itself
    self.config = config
    self._state, self._batch = sounds.state, batch_lib.Batch(sounds.audio)
    jitted, arguments = step_lib.build(config, _mesh(config))
    self.compiled = compiling.compile_one(jitted, *arguments)

  def run(self, count: int) -> None:
    """Hands over so many steps, and waits for the last."""
    for _ in range(count):
      self._state, metrics = self.compiled.program(self._state, self._batch)
    jax.block_until_ready(metrics)

  @functools.cached_property
  def text(self) -> str:
    """The compiled program's instructions."""
    return self.compiled.program.as_text()


# The last one: its trace needs no second compilation.
_kept: dict[tuple, Step] = {}


def forget() -> None:
  """Frees the step that is kept, for what needs the memory."""
  _kept.clear()


def _step(given: conditions_lib.Conditions, changes: Values) -> Step:
  key = given.to_json(), tuple(sorted(changes.items()))
  if key not in _kept:
    forget()
    _kept[key] = Step(given.config(**changes))
  return _kept[key]


def measure(given: conditions_lib.Conditions, **changes) -> Iterator[Values]:
  """Compiles a step alone and times it.

  Args:
    given: the run's.
    **changes: of its configuration.
  """
  forget()
  config = given.config(**changes)
  yield {
    "method": conditions_lib.name_of(config.form, given.platform),
    "batch": config.batch_size,
    "quantizer_layers": config.quantizer.num_quantizers,
    "audio_s": config.batch_size
    * config.data.crop_samples
    / config.audio.sample_rate_hz,
  }
  step = _step(given, changes)
  yield step.compiled.facts
  step.run(WARM_UP)
  start = time.perf_counter()
  step.run(given.steps)
  yield {"seconds": (time.perf_counter() - start) / given.steps}
  each = [sides.seconds(lambda: step.run(1)) for _ in range(given.steps)]
  yield {
    # Waiting for each step also shows what a step costs to hand over.
    "alone_s": statistics.median(each),
    "slowest_s": max(each),
    "flops": layers.step_flops(config),
    "bytes": _bytes(step),
  } | peak_memory()


def trace(given: conditions_lib.Conditions, **changes) -> Iterator[Values]:
  """Traces some steps and says where their time goes."""
  step = _step(given, changes)
  step.run(WARM_UP)
  path = traces.record(lambda: step.run(TRACED), folder=f"{given.cache}/traces")
  yield {"file": str(path)}
  yield traces.reduce(
    traces.read(path), step.text, steps=TRACED, platform=given.platform
  )


def losses(given: conditions_lib.Conditions, **changes) -> Iterator[Values]:
  """Compares the losses of one step in bfloat16 and in float32."""
  forget()
  lower = _losses(given.config(**changes))
  yield {"lower": lower}
  with jax.default_matmul_precision("highest"):
    exact = _losses(given.config(**changes, dtype="float32"))
  apart = {
    name: abs(lower[name] - value) / max(abs(value), 1e-6)
    for name, value in exact.items()
  }
  worst = max(apart, key=apart.get)
  yield {
    "exact": exact,
    "worst": worst,
    "apart": apart[worst],
    "holds": apart[worst] <= LOSS_TOLERANCE,
  }


def _losses(config: config_lib.Config) -> dict[str, float]:
  """The losses of a first step; what a step does beside is left out."""
  sounds = sides.Ours(config)
  whole, _ = step_lib.build(config, _mesh(config))

  def only_losses(state, batch):
    _, metrics = whole.__wrapped__(state, batch)
    return {k: v for k, v in metrics.items() if k.startswith("loss/")}

  found = jax.jit(only_losses)(sounds.state, batch_lib.Batch(sounds.audio))
  return {name: float(jnp.asarray(value)) for name, value in found.items()}


def _mesh(config: config_lib.Config):
  return distributed.make_mesh(config.mesh, jax.devices()[:1])


def _bytes(step: Step) -> float:
  """What the compiled instructions read and write in the main memory."""
  try:
    return program_cost.of(step.text).bytes
  except ValueError:  # a text of another version of XLA
    costs = step.compiled.program.cost_analysis() or {}
    return float(costs.get("bytes accessed", 0.0))


def peak_memory() -> Values:
  """The most that this process has had on the device, where it says so."""
  stats = jax.devices()[0].memory_stats() or {}
  if "peak_bytes_in_use" not in stats:
    return {}
  return {"peak_bytes": stats["peak_bytes_in_use"]}
