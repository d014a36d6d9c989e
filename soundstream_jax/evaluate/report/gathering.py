"""Finds what runs left in the folders that --runs names."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from soundstream_jax import errors, paths
from soundstream_jax.evaluate.report import evaluation

LOG = "metrics.jsonl"
CONFIG = "config.json"
SWEEP = "sweep.json"
EVALUATION = "evaluation"  # in a workdir
BASELINES = "baselines"  # in a sweep's folder


@dataclasses.dataclass(frozen=True)
class Run:
  """A workdir, or the folder of an evaluation alone."""

  label: str
  folder: pathlib.Path
  log: pathlib.Path | None
  evaluation: evaluation.Evaluation | None
  config: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Point:
  """A configuration of a sweep, and its run where there is one."""

  name: str
  overrides: Mapping[str, Any]
  parameters: float | None
  bitrate_bps: float | None
  run: Run | None


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep's folder.

  Attributes:
    name: of the sweep.
    title: the name and, where another sweep of the page has it too, the folder.
  """

  name: str
  title: str
  preset: str
  fixes: str
  points: list[Point]
  baselines: evaluation.Evaluation | None


@dataclasses.dataclass(frozen=True)
class Group:
  """Evaluations of the same clips, which can be compared.

  Attributes:
    title: of the sweep; empty for runs that were named one by one.
    evaluations: of models, of other systems, or of both.
  """

  title: str
  evaluations: list[evaluation.Evaluation]

  @property
  def metrics(self) -> dict[str, evaluation.Measure]:
    found: dict[str, evaluation.Measure] = {}
    for each in self.evaluations:
      found |= {n: m for n, m in each.metrics.items() if n not in found}
    return found

  @property
  def classes(self) -> list[str]:
    return evaluation.ordered(
      {
        kind
        for each in self.evaluations
        for system in each.systems
        for _, kind in system.scores
      }
    )

  @property
  def models(self) -> list[tuple[evaluation.Evaluation, evaluation.System]]:
    return [(each, s) for each in self.evaluations for s in each.models]

  @property
  def others(self) -> list[tuple[evaluation.Evaluation, evaluation.System]]:
    """The systems that are not ours, each once."""
    found: dict[tuple[str, str], Any] = {}
    for each in self.evaluations:
      for system in each.systems:
        if system.system != evaluation.MODEL:
          found.setdefault((system.key, system.version), (each, system))
    return list(found.values())

  @property
  def first(self) -> evaluation.Evaluation:
    return self.evaluations[0]


@dataclasses.dataclass(frozen=True)
class Found:
  """All that a page is made of."""

  groups: list[Group]
  runs: list[Run]
  sweeps: list[Sweep]

  @property
  def evaluations(self) -> list[evaluation.Evaluation]:
    return [each for group in self.groups for each in group.evaluations]


def gather(folders: Sequence[str]) -> Found:
  """Reads workdirs, folders of evaluations and sweeps.

  Raises:
    InputError: one is none of these, or what is in it cannot be read.
  """
  runs, sweeps = [], []
  folders = list(dict.fromkeys(map(os.path.abspath, folders)))
  labels = _labels([pathlib.Path(folder) for folder in folders])
  for folder, label in zip(folders, labels, strict=True):
    path = pathlib.Path(folder)
    if not paths.readable(f"--runs={folder}", path):
      raise errors.InputError(
        f"--runs={folder}: there is no such folder. Name a workdir, a folder "
        "of evaluate --out, or a sweep's."
      )
    if _there(path / SWEEP):
      sweeps.append((_sweep(path), label))
    elif (run := _run(path, label)) is not None:
      runs.append(run)
    else:
      raise errors.InputError(
        f"--runs={folder} holds no {evaluation.NAME}, {SWEEP} or {LOG}. Name "
        "a workdir, a folder of evaluate --out, or a sweep's."
      )
  sweeps = _titled(sweeps)
  groups = _groups("", [run.evaluation for run in runs])
  for sweep in sweeps:
    of_points = [point.run and point.run.evaluation for point in sweep.points]
    groups += _groups(sweep.title, [*of_points, sweep.baselines])
  return Found(groups=groups, runs=runs, sweeps=sweeps)


def _run(folder: pathlib.Path, label: str) -> Run | None:
  """Returns what is in a folder; None: nothing of a run."""
  log = folder / LOG if _there(folder / LOG) else None
  found = None
  for place in (folder, folder / EVALUATION):
    if found is None and _there(place / evaluation.NAME):
      found = evaluation.load(place, label)
  if log is None and found is None:
    return None
  saved = folder / CONFIG
  config = evaluation.read_json(saved) if _there(saved) else {}
  if not config and found is not None:
    config = found.model.get("config") or {}
  return Run(label, folder, log, found, config)


def _sweep(folder: pathlib.Path) -> Sweep:
  path = folder / SWEEP
  values = evaluation.read_json(path)
  try:
    points = [_point(folder, told) for told in values["points"]]
  except (AttributeError, KeyError, TypeError) as error:
    raise errors.InputError(
      f"{path} is not what a sweep writes ({type(error).__name__}: {error}). "
      "Run the sweep again in its folder."
    ) from error
  baselines = folder / BASELINES
  name = str(values.get("sweep") or folder.name)
  return Sweep(
    name=name,
    title=name,
    preset=str(values.get("preset") or ""),
    fixes=str(values.get("fixes") or ""),
    points=points,
    baselines=(
      evaluation.load(baselines, BASELINES)
      if _there(baselines / evaluation.NAME)
      else None
    ),
  )


def _titled(sweeps: list[tuple[Sweep, str]]) -> list[Sweep]:
  """Returns sweeps under titles that tell them apart, by their folders."""
  names = [sweep.name for sweep, _ in sweeps]
  return [
    dataclasses.replace(sweep, title=f"{sweep.name} ({label})")
    if names.count(sweep.name) > 1
    else sweep
    for sweep, label in sweeps
  ]


def _point(folder: pathlib.Path, told: Mapping[str, Any]) -> Point:
  name = str(told["name"])
  return Point(
    name=name,
    overrides=dict(told.get("overrides") or {}),
    parameters=evaluation.finite(told.get("parameters")),
    bitrate_bps=evaluation.finite(told.get("bitrate_bps")),
    run=_run(folder / str(told["workdir"]), name),
  )


def _groups(
  title: str, evaluations: Iterable[evaluation.Evaluation | None]
) -> list[Group]:
  """Puts together what was measured on the same clips."""
  found: dict[str, list[evaluation.Evaluation]] = {}
  for each in evaluations:
    if each is not None:
      found.setdefault(each.digest, []).append(each)
  return [Group(title, each) for each in found.values()]


def _labels(folders: list[pathlib.Path]) -> list[str]:
  """Returns the ends of paths, as short as tells them apart."""
  whole = [folder.absolute().parts for folder in folders]

  def end(parts: tuple[str, ...]) -> str:
    for length in range(1, len(parts) + 1):
      tail = parts[-length:]
      if sum(other[-length:] == tail for other in whole) == 1:
        break
    return "/".join(tail)

  return [end(parts) for parts in whole]


def _there(path: pathlib.Path) -> bool:
  return paths.exists(str(path), path)
