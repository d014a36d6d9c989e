"""How fast a device works through what `counting` counts.

Measured once by two small convolutions, and kept in the user's cache; points
that have been trained say it better, and replace that.
"""

import dataclasses
import hashlib
import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Sequence

from soundstream_jax import caches, errors, whole_files
from soundstream_jax.launch.sweep import counting

# Ours, until a point has been trained: before its first step, a run starts and
# compiles, and a step with discriminators does less in a second.
START_SECONDS = 30.0
ADVERSARIAL_SHARE = 0.45

_MEASURE = "from soundstream_jax.launch.sweep import speed; speed.measure()"
_CALLS = 5


@dataclasses.dataclass(frozen=True)
class Speed:
  """Units per second, by whether discriminators take part; and the rest."""

  units: dict[bool, float]
  start_seconds: float
  source: str  # how it was found, for people

  def seconds(self, work: counting.Work) -> float:
    """Returns how long a run of so much work takes."""
    return self.start_seconds + sum(
      steps * work.units[kind] / self.units[kind]
      for kind, steps in work.steps.items()
      if steps
    )


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
  units = {}
  for kind in (False, True):
    each = [
      point.steps_per_second[kind] * point.work.units[kind]
      for point in trained
      if point.steps_per_second.get(kind)
    ]
    if each:
      units[kind] = statistics.median(each)
  rest = [
    point.seconds
    - sum(
      steps / point.steps_per_second[kind]
      for kind, steps in point.work.steps.items()
      if point.steps_per_second.get(kind)
    )
    for point in trained
  ]
  # Of a kind that none of them had: as much faster or slower as the other.
  for kind in (False, True):
    if kind not in units:
      units[kind] = (
        units[not kind] * before.units[kind] / before.units[not kind]
      )
  many = (
    f"{len(trained)} trained points" if len(trained) > 1 else "a trained point"
  )
  return Speed(units, max(0.0, statistics.median(rest)), many)


def of_this_device() -> Speed:
  """Returns the speed of the device that training would take here.

  Raises:
    InputError: it cannot be measured.
  """
  kept = _kept_file()
  if kept is not None and (found := _read(kept)):
    return found
  # A process of its own: training needs all of an accelerator's memory.
  done = subprocess.run(
    [sys.executable, "-c", _MEASURE],
    capture_output=True,
    text=True,
    errors="backslashreplace",
    check=False,
  )
  if done.returncode:
    raise errors.InputError(
      "the speed of this device cannot be measured: "
      f"{(done.stderr.strip().splitlines() or ['no reason is given'])[-1]}."
    )
  rate = float(done.stdout.split()[-1])
  found = Speed(
    {False: rate, True: rate * ADVERSARIAL_SHARE},
    START_SECONDS,
    "a short measurement of this device",
  )
  keep(found)
  return found


def keep(speed: Speed) -> None:
  """Keeps a speed for the next sweep on this device."""
  file = _kept_file()
  if file is not None:
    values = dataclasses.asdict(speed)
    values["units"] = [speed.units[False], speed.units[True]]
    whole_files.write(file, json.dumps(values) + "\n")


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
  return folder and folder / f"speed-{key}.json"


def _read(file: pathlib.Path) -> Speed | None:
  try:
    values = json.loads(file.read_text())
    without, with_discriminators = map(float, values["units"])
    return Speed(
      {False: without, True: with_discriminators},
      float(values["start_seconds"]),
      str(values["source"]),
    )
  except (OSError, ValueError, KeyError, TypeError):
    return None
