"""A sweep before it runs: its points, where they go, and what they will cost."""

import dataclasses
import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.launch import arguments
from soundstream_jax.launch.sweep import folder, states
from soundstream_jax.launch.sweep import points as points_lib
from soundstream_jax.launch.sweep.cost import counting, speed
from soundstream_jax.settings import presets, sweeps


@dataclasses.dataclass(frozen=True)
class Planned:
  """A point and where it goes."""

  point: points_lib.Point
  workdir: pathlib.Path
  training: tuple[str, ...]  # flags of `soundstream_jax.train`

  @property
  def name(self) -> str:
    return self.point.name


@dataclasses.dataclass(frozen=True)
class Plan:
  """Everything that a launcher needs of a sweep."""

  sweep: sweeps.Sweep
  preset: str
  out: pathlib.Path
  points: tuple[Planned, ...]
  evaluation: tuple[str, ...]  # flags of each point's evaluation
  works: dict[str, counting.Work]  # by a point's hash
  common: tuple[str, ...] = ()  # fields that the command line sets for all

  def look(self) -> list[states.State]:
    """Looks at every point."""
    return [
      states.look(
        each.workdir,
        num_steps=each.point.config.num_steps,
        evaluation=self.evaluation,
        out=self.out,
      )
      for each in self.points
    ]

  def rows(self, rate: speed.Speed) -> list[dict[str, Any]]:
    """Returns the points of sweep.json, with what they are predicted to cost."""
    return [self._row(each, rate) for each in self.points]

  def _row(self, each: Planned, rate: speed.Speed) -> dict[str, Any]:
    config, work = each.point.config, self.works[each.point.hash]
    total = sum(work.units[kind] * work.steps[kind] for kind in work.units)
    return {
      "name": each.name,
      "hash": each.point.hash,
      "overrides": {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in each.point.overrides.items()
      },
      "workdir": str(each.workdir.relative_to(self.out)),
      "bitrate_bps": float(config.rates.bitrate_bps()),
      "parameters": work.parameters,
      "predicted_seconds": round(rate.seconds(work), 1),
      "num_quantizers": config.quantizer.num_quantizers,
      "codebook_size": config.quantizer.codebook_size,
      "num_steps": config.num_steps,
      "units_per_step": total / config.num_steps,
      "evaluation": list(self.evaluation),
    }

  def trained(self, found: Sequence[states.State]) -> dict[str, speed.Trained]:
    """Returns what trained points took, by their names."""
    taken = {}
    for each, state in zip(self.points, found, strict=True):
      if state.name != states.DONE:
        continue
      start = each.point.config.discriminator.start_step
      rates = states.steps_per_second(each.workdir, start)
      if rates:
        taken[each.name] = speed.Trained(
          self.works[each.point.hash], state.seconds, rates
        )
    return taken


def make(
  sweep_name: str,
  preset: str,
  out: pathlib.Path,
  words: Sequence[str],
  *,
  evaluation: str = "",
) -> Plan:
  """Reads and checks everything; counts what each point has to compute.

  Args:
    sweep_name: name or path.
    preset: likewise.
    out: the sweep's folder.
    words: training's flags for all points.
    evaluation: flags for all evaluations, as a shell has them.

  Raises:
    InputError: with the flag, the field or the point.
  """
  common, others = _common(words)
  sweep = sweeps.load(sweep_name)
  if preset.endswith(".py") or os.sep in preset:
    preset = os.path.abspath(preset)
  planned = []
  for point in points_lib.resolve(sweep, preset, common):
    workdir = folder.workdir(out, point)
    training = (
      f"--config={preset}",
      f"--workdir={workdir}",
      *others,
      *(f"--config.{key}={text}" for key, text in common.overrides),
      *point.words(),
    )
    try:
      arguments.check(training, example="")
    except errors.InputError as error:
      raise errors.InputError(
        f"sweep {sweep.name}, point {point.name}: {error}"
      ) from None
    planned.append(Planned(point, workdir, training))
  try:
    flags = tuple(shlex.split(evaluation))
  except ValueError as error:
    raise errors.InputError(f"--evaluate={evaluation}: {error}.") from None
  for flag in flags:
    if flag.lstrip("-").split("=")[0] in ("workdir", "out"):
      raise errors.InputError(
        f"--evaluate={evaluation}: each point has its own workdir and out. "
        f"Leave {flag} out."
      )
  if not any(flag.lstrip("-").startswith("baselines") for flag in flags):
    flags = (*flags, "--baselines=none")  # they are the same for all points
  return Plan(
    sweep=sweep,
    preset=preset,
    out=out,
    points=tuple(planned),
    evaluation=flags,
    works=_count([each.point for each in planned]),
    common=tuple(key for key, _ in common.overrides),
  )


def _common(words: Sequence[str]) -> tuple[presets.Given, list[str]]:
  """Splits training's flags for all points into --config ones and others."""
  values = arguments.training_values()
  _, given = presets.read(["train", *words], values)
  if given.name is not None:
    raise errors.InputError(
      f"--config={given.name}: name the preset of all points with --preset."
    )
  if values["workdir"].present:
    raise errors.InputError(
      "--workdir: every point has its own, in --out. Leave it out."
    )
  others = [
    text
    for name in values
    if values[name].present and (text := values[name].serialize())
  ]
  return given, others


def _count(
  points: Sequence[points_lib.Point],
) -> dict[str, counting.Work]:
  """Counts the work of every point, once for those of the same shapes."""
  seen: dict[config_lib.Config, counting.Work] = {}
  found = {}
  for point in points:
    shapes = counting.shapes(point.config)
    if shapes not in seen:
      seen[shapes] = counting.count(point.config)
    found[point.hash] = seen[shapes]
  return found
