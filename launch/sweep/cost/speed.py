"""How fast a device works through what `counting` counts.

Measured once by two small convolutions, and kept in the user's cache; points
that have been trained say it better, and replace that.
"""

import dataclasses
import hashlib
import json
import pathlib
import statistics
import sys
from collections.abc import Sequence

from soundstream_jax import caches, whole_files
from soundstream_jax.launch.sweep import program
from soundstream_jax.launch.sweep.cost import counting

# Ours, until a point has been trained: before its first step, a run starts and
# compiles, and a step with discriminators does less in a second.
START_SECONDS = 30.0
ADVERSARIAL_SHARE = 0.45

# A step of a size within this factor says how long another one takes; over
# more, what is the same for every step counts.
NEAR = 4.0

_MOST_KEPT = 50
_MEASURE = (
  "from soundstream_jax.launch.sweep.cost import speed; speed.measure()"
)
_CALLS = 5


@dataclasses.dataclass(frozen=True)
class Step:
  """How long a step of some size took."""

  adversarial: bool  # discriminators took part
  units: float
  seconds: float


@dataclasses.dataclass(frozen=True)
class Speed:
  """What a device makes of units."""

  units_per_second: float  # of the short measurement
  start_seconds: float  # of a run, beside its steps
  steps: tuple[Step, ...] = ()  # of this sweep's points
  kept: tuple[Step, ...] = ()  # of earlier ones, on this device
  points: int = 0  # that steps come from

  @property
  def source(self) -> str:
    """How it was found, for people."""
    if self.points:
      return f"{self.points} of its points, trained"
    return (
      "points of earlier sweeps on this device, else a short measurement of it"
      if self.kept
      else "a short measurement of this device"
    )

  def seconds(self, work: counting.Work) -> float:
    """Returns how long a run of so much work takes."""
    return self.start_seconds + sum(
      count * self._of_step(kind, work.units[kind])
      for kind, count in work.steps.items()
      if count
    )

  def _of_step(self, kind: bool, units: float) -> float:
    for steps in (self.steps, self.kept):
      near = [
        step
        for step in steps
        if step.adversarial == kind and _apart(step.units, units) < NEAR
      ]
      if near:
        nearest = min(near, key=lambda step: _apart(step.units, units))
        return nearest.seconds * units / nearest.units
    share = ADVERSARIAL_SHARE if kind else 1.0
    return units / (self.units_per_second * share)


@dataclasses.dataclass(frozen=True)
class Trained:
  """How long a point took."""

  work: counting.Work
  seconds: float  # from its start to its end
  steps_per_second: dict[bool, float]  # by whether discriminators take part


def of_points(trained: Sequence[Trained], before: Speed) -> Speed:
  """Returns the speed that trained points had; without any, `before`."""
  if not trained:
    return before
  steps, rest = [], []
  for point in trained:
    left = point.seconds
    for kind, rate in point.steps_per_second.items():
      if kind in point.work.units:
        steps.append(Step(kind, point.work.units[kind], 1 / rate))
        left -= point.work.steps[kind] / rate
    rest.append(max(0.0, left))
  return dataclasses.replace(
    before,
    start_seconds=statistics.median(rest),
    steps=tuple(steps),
    points=len(trained),
  )


def of_this_device() -> Speed:
  """Returns the speed of the device that training would take here.

  Raises:
    InputError: it cannot be measured.
  """
  kept = _kept_file()
  if kept is not None and (found := _read(kept)):
    return found
  # A process of its own: training needs all of an accelerator's memory.
  said = program.answer(
    [sys.executable, "-c", _MEASURE],
    refused="the speed of this device cannot be measured",
  )
  found = Speed(float(said.split()[-1]), START_SECONDS)
  keep(found)
  return found


def keep(speed: Speed) -> None:
  """Keeps a speed for the next sweep on this device."""
  file = _kept_file()
  if file is None:
    return
  steps = {(s.adversarial, round(s.units)): s for s in speed.kept}
  steps |= {(s.adversarial, round(s.units)): s for s in speed.steps}
  values = {
    "units_per_second": speed.units_per_second,
    "start_seconds": speed.start_seconds,
    "steps": [dataclasses.astuple(s) for s in [*steps.values()][-_MOST_KEPT:]],
  }
  whole_files.write(file, json.dumps(values) + "\n")


def _apart(one: float, other: float) -> float:
  """Returns how many times as large the larger one is."""
  return max(one, other) / min(one, other)


def measure() -> None:
  """Prints units per second; runs in a process of its own."""
  import time

  import jax
  import jax.numpy as jnp

  def loss(kernels, signal):
    for kernel in kernels:
      signal = jax.nn.elu(
        jax.lax.conv_general_dilated(
          signal, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
      )
    return jnp.mean(jnp.square(signal))

  kernels = [jnp.full((7, 16, 16), 0.01) for _ in range(6)]
  signal = jnp.ones((4, 4800, 16))
  step = jax.jit(jax.grad(loss))
  units = counting.of_program(step.trace(kernels, signal).jaxpr.jaxpr)
  jax.block_until_ready(step(kernels, signal))
  seconds = []
  for _ in range(_CALLS):
    began = time.perf_counter()
    jax.block_until_ready(step(kernels, signal))
    seconds.append(time.perf_counter() - began)
  print(units / statistics.median(seconds))


def _kept_file() -> pathlib.Path | None:
  from soundstream_jax.launch.sweep import provenance

  folder = caches.folder("sweep")
  key = hashlib.sha256(provenance.hardware().encode()).hexdigest()[:16]
  return folder and folder / f"speed-v1-{key}.json"


def _read(file: pathlib.Path) -> Speed | None:
  try:
    values = json.loads(file.read_text())
    return Speed(
      float(values["units_per_second"]),
      float(values["start_seconds"]),
      kept=tuple(
        Step(bool(a), float(u), float(s)) for a, u, s in values["steps"]
      ),
    )
  except (OSError, ValueError, KeyError, TypeError):
    return None
