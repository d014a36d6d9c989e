"""Counts the work of a training step from its shapes; nothing is compiled.

A unit is one multiplication with an addition. An element that any other
operation makes counts as seven of them, which fits what steps of several sizes
took on a CPU: small models wait for memory, not for arithmetic.
"""

import dataclasses
import math
from typing import Any

import jax

from soundstream_jax import config as config_lib
from soundstream_jax.devices import distributed
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

_UNITS_PER_ELEMENT = 7.0
# They move nothing, or are merged into what reads them.
_FREE = {"reshape", "broadcast_in_dim", "squeeze", "iota", "stop_gradient"}
# Of several programs of such an operation one runs: the first counts.
_ONE_OF = {
  "cond",
  "platform_index",
  "custom_jvp_call",
  "custom_vjp_call",
  "custom_partitioning",
}


@dataclasses.dataclass(frozen=True)
class Work:
  """What training has to do, by shapes alone."""

  parameters: int  # of the generator
  units: dict[bool, float]  # of a step, by whether discriminators take part
  steps: dict[bool, int]  # likewise


def count(config: config_lib.Config) -> Work:
  """Returns the work of a run on one device of this machine's kind."""
  late = max(0, config.num_steps - config.discriminator.start_step)
  late *= config.discriminator.exists
  steps = {False: config.num_steps - late, True: late}
  # Neither is how a step is spread over devices.
  mesh = distributed.make_mesh(config_lib.Mesh(), jax.local_devices()[:1])
  units = {}
  for adversarial in (False, True):
    if steps[adversarial]:
      units[adversarial] = _of_step(config, mesh, adversarial=adversarial)
  params = state_lib.abstract(config).params
  return Work(sum(leaf.size for leaf in jax.tree.leaves(params)), units, steps)


def _of_step(config: config_lib.Config, mesh, *, adversarial: bool) -> float:
  """Returns the units of a step; the mean, where discriminators skip some."""
  step, arguments = step_lib.build(config, mesh, adversarial=adversarial)
  units = of_program(step.trace(*arguments).jaxpr.jaxpr)
  every = config.discriminator.every_steps
  if not adversarial or every == 1:
    return units
  # The conditional counted as if it were never true.
  always = dataclasses.replace(config.discriminator, every_steps=1)
  always = dataclasses.replace(config, discriminator=always)
  learning = _of_step(always, mesh, adversarial=True)
  return units + (learning - units) / every


def shapes(config: config_lib.Config) -> config_lib.Config:
  """Returns what decides the count, equal for points that differ in values."""
  usual = config_lib.Config()
  return dataclasses.replace(
    config,
    seed=0,
    init_from="",
    optimizer=usual.optimizer,
    evaluation=usual.evaluation,
    checkpoint=usual.checkpoint,
    logging=usual.logging,
  )


def of_program(program: Any) -> float:
  """Returns the units of a jaxpr."""
  total = 0.0
  for equation in program.eqns:
    name = equation.primitive.name
    inner = [
      getattr(each, "jaxpr", each)
      for value in equation.params.values()
      for each in (value if isinstance(value, list | tuple) else (value,))
      if hasattr(each, "jaxpr") or hasattr(each, "eqns")
    ]
    if inner:
      times = equation.params["length"] if name == "scan" else 1
      inner = inner[:1] if name in _ONE_OF else inner
      total += times * sum(map(of_program, inner))
    elif name not in _FREE:
      total += _of_equation(name, equation)
  return total


def _of_equation(name: str, equation: Any) -> float:
  made = sum(
    math.prod(out.aval.shape)
    for out in equation.outvars
    if hasattr(out.aval, "shape")
  )
  if name == "dot_general":
    (summed, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return made * math.prod(shape[axis] for axis in summed)
  if name == "conv_general_dilated":
    numbers = equation.params["dimension_numbers"]
    kernel = equation.invars[1].aval.shape
    return made * math.prod(kernel) / kernel[numbers.rhs_spec[0]]
  if name == "fft":
    return made * math.log2(math.prod(equation.params["fft_lengths"]))
  return made * _UNITS_PER_ELEMENT
