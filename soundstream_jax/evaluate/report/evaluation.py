"""An evaluation.json as the page reads it, whatever is missing in it."""

import dataclasses
import datetime
import functools
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from soundstream_jax import console, errors

NAME = "evaluation.json"
MEASUREMENTS = "measurements.jsonl"
MODEL = "model"  # the system that is ours
ALL = "all"  # the class of every clip
# Before classes of a folder's own, and in this order.
_CLASSES = (ALL, "speech", "noisy", "music", "noise")


@dataclasses.dataclass(frozen=True)
class Score:
  """A mean over clips, with its 95 % interval; None is not known."""

  mean: float | None
  low: float | None
  high: float | None
  count: int = 0
  missing: int = 0


@dataclasses.dataclass(frozen=True)
class Measure:
  """A metric as the evaluation describes it."""

  name: str
  title: str
  unit: str
  decimals: int
  higher_is_better: bool
  low: float | None
  high: float | None
  version: str = ""

  @property
  def heading(self) -> str:
    return f"{self.title}, {self.unit}" if self.unit else self.title

  def gain(self, difference: float) -> float:
    """Returns a difference so that more is better."""
    return difference if self.higher_is_better else -difference


@dataclasses.dataclass(frozen=True)
class System:
  """What coded the clips, at one setting.

  Attributes:
    key: system@setting.
    payload_bps: what it really took; None for what is no codec.
    scores: (metric, class) -> Score.
  """

  key: str
  system: str
  label: str
  version: str
  bitrate_bps: float | None
  payload_bps: float | None
  entropy_bps: float | None
  scores: Mapping[tuple[str, str], Score]


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """One folder of `evaluate --out`."""

  folder: pathlib.Path
  label: str
  date: str
  model: Mapping[str, Any]
  metrics: Mapping[str, Measure]
  missing_metrics: Mapping[str, str]
  clip_names: list[str]
  clip_classes: list[str]
  seconds: float
  origin: str
  digest: str
  systems: list[System]
  missing_systems: Mapping[str, str]
  paired: Mapping[tuple[str, str, str, str], Score]
  codebooks: list[Mapping[str, Any]]

  @property
  def models(self) -> list[System]:
    return [s for s in self.systems if s.system == MODEL]

  @functools.cached_property
  def measured(self) -> Mapping[tuple[str, str], Mapping[str, float]]:
    """(key, metric) -> clip -> value; missing values are left out."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for line in self._lines():
      try:
        told = json.loads(line)
        key, clip, values = told["key"], told["clip"], told["values"].items()
      except (AttributeError, KeyError, TypeError, ValueError):
        continue  # half written, of an evaluation that was killed
      for metric, value in values if clip in self.clip_names else ():
        of_clips = found.setdefault((key, metric), {})
        # The last line of a clip counts.
        of_clips.pop(clip, None)
        if (number := finite(value)) is not None:
          of_clips[clip] = number
    return found

  def _lines(self) -> list[bytes]:
    path = self.folder / MEASUREMENTS
    if not path.is_file():
      return []
    with errors.reading(console.shown(path)):
      return path.read_bytes().splitlines()


def load(folder: pathlib.Path, label: str) -> Evaluation:
  """Reads a folder's evaluation.json.

  Raises:
    InputError: it is none, or of a version that had no systems.
  """
  path = folder / NAME
  values = read_json(path)
  if "systems" not in values:
    raise errors.InputError(
      f"{path} is of an older version, which compared with nothing. Run "
      "evaluate again with the same --out."
    )
  try:
    return _parsed(values, path, label)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"{path} is not what evaluate writes ({type(error).__name__}: {error}). "
      "Run evaluate again with the same --out."
    ) from error


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Returns the object in a file.

  Raises:
    InputError: the file cannot be read, or holds something else.
  """
  with errors.reading(console.shown(path)):
    content = path.read_bytes()
  try:
    values = json.loads(content)
  except ValueError as error:
    raise errors.InputError(
      f"{path} is no JSON ({error}). Write it again, or leave it out."
    ) from error
  if not isinstance(values, dict):
    raise errors.InputError(
      f"{path} holds no object. Write it again, or leave it out."
    )
  return values


def finite(value: object) -> float | None:
  """Returns a number; None for NaN, for null and for what is no number."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return None
  return float(value) if math.isfinite(value) else None


def ordered(classes) -> list[str]:
  """Returns names of classes: all of them, those of the paper, others."""
  known = [name for name in _CLASSES if name in classes]
  return known + sorted(set(classes) - set(_CLASSES))


def _parsed(values, path: pathlib.Path, label: str) -> Evaluation:
  clips = values.get("clip_set") or {}
  seconds = [finite(s) or 0.0 for s in clips.get("seconds") or []]
  written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
  return Evaluation(
    folder=path.parent,
    label=label,
    date=f"{written:%Y-%m-%d}",
    model=values.get("model") or {},
    metrics={
      name: _measure(name, told)
      for name, told in (values.get("metrics") or {}).items()
    },
    missing_metrics=_reasons(values.get("missing_metrics")),
    clip_names=[str(name) for name in clips.get("names") or []],
    clip_classes=[str(name) for name in clips.get("classes") or []],
    seconds=sum(seconds),
    origin=str(clips.get("origin") or ""),
    digest=str(clips.get("digest") or ""),
    systems=[_system(told) for told in values["systems"]],
    missing_systems=_reasons(values.get("missing_systems")),
    paired={
      (str(p["a"]), str(p["b"]), str(p["metric"]), str(p["class"])): _score(p)
      for p in values.get("paired") or []
    },
    codebooks=list(values.get("codebooks") or []),
  )


def _measure(name: str, told: Mapping[str, Any]) -> Measure:
  return Measure(
    name=name,
    title=str(told.get("title") or name),
    unit=str(told.get("unit") or ""),
    decimals=int(told.get("decimals") or 0),
    higher_is_better=bool(told.get("higher_is_better")),
    low=finite(told.get("low")),
    high=finite(told.get("high")),
    version=str(told.get("version") or ""),
  )


def _system(told: Mapping[str, Any]) -> System:
  return System(
    key=str(told["key"]),
    system=str(told["system"]),
    label=str(told.get("label") or told["key"]),
    version=str(told.get("version") or ""),
    bitrate_bps=finite(told.get("bitrate_bps")),
    payload_bps=finite(told.get("payload_bps")) or None,
    entropy_bps=finite(told.get("entropy_bps")) or None,
    scores={
      (metric, kind): _score(score)
      for metric, kinds in (told.get("metrics") or {}).items()
      for kind, score in kinds.items()
    },
  )


def _score(told: Mapping[str, Any]) -> Score:
  mean, low, high = (finite(told.get(key)) for key in ("mean", "low", "high"))
  return Score(
    mean=mean,
    low=low,
    high=high,
    count=int(finite(told.get("count")) or 0),
    missing=int(finite(told.get("missing")) or 0),
  )


def _reasons(told: Mapping[str, Any] | None) -> dict[str, str]:
  return {str(name): str(why) for name, why in (told or {}).items()}
