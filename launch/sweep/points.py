"""Points of a sweep: a point is its configuration, whatever it is called.

Its hash is over every field that decides a result and is not at its default,
so that a field that a later version adds, and that is off, changes no hash.
Datasets may lie elsewhere, as when a run is resumed, unless the sweep itself
sets where they lie.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.launch.sweep import bitrates, files
from soundstream_jax.settings import constraints, fields, presets, resume

# They may change when a run resumes, but not what it comes to.
_COUNT = ("num_steps", "init_from")
_NAME = re.compile(r"[A-Za-z0-9][\w.+=,-]{0,59}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Point:
  """One configuration of a sweep."""

  name: str
  overrides: dict[str, Any]  # field -> value, of the sweep's file
  config: config_lib.Config
  hash: str  # of what decides its result, hexadecimal

  @property
  def short(self) -> str:
    """The hash as folders have it."""
    return self.hash[:8]

  def words(self) -> list[str]:
    """Returns the sweep's own flags of training."""
    return [f"--config.{k}={as_text(v)}" for k, v in self.overrides.items()]


def resolve(
  sweep: files.Sweep, preset: str, common: presets.Given
) -> list[Point]:
  """Returns the points of a sweep.

  Args:
    sweep: as read.
    preset: name or path, the size of all points.
    common: the --config flags for all of them.

  Raises:
    InputError: a field or a value that there cannot be, a bitrate that is not
      the sweep's, or two points that are one.
  """
  base = config_lib.load(preset)
  for key, text in common.overrides:
    config_lib.override(base, key, text)
  points, seen = [], {}
  for name, overrides in _pairs(sweep, base):
    where = f"sweep {sweep.name}, point {name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
      raise errors.InputError(
        f"sweep {sweep.name}: {name!r} is no name of a point, which becomes a "
        "folder's. Use at most 60 letters, digits and .+=,_- in it."
      )
    for key, _ in common.overrides:
      if key in overrides:
        raise errors.InputError(
          f"{where}: the sweep sets {key} itself. Leave --config.{key} out, or "
          "write a sweep of your own."
        )
    values = base.copy_and_resolve_references()
    try:
      for key, value in overrides.items():
        config_lib.override(values, key, as_text(value))
      config = config_lib.from_dict(values)
      if not config.init_from:
        constraints.check_kmeans(config)
    except errors.InputError as error:
      raise errors.InputError(f"{where}: {error}") from None
    point = Point(name, dict(overrides), config, digest(config, overrides))
    other = seen.setdefault(point.hash, point)
    if other is not point:
      raise errors.InputError(
        f"sweep {sweep.name}: {other.name} and {name} are one configuration. "
        "Leave one of them out, or change a field that decides a result."
      )
    points.append(point)
  if not points:
    raise errors.InputError(f"sweep {sweep.name} has no points.")
  names = [point.name for point in points]
  for name in names:
    if names.count(name) > 1:
      raise errors.InputError(
        f"sweep {sweep.name}: two points are called {name}. Rename one."
      )
  bitrates.check(sweep, points)
  return points


def digest(
  config: config_lib.Config, overrides: Sequence[str] | dict[str, Any] = ()
) -> str:
  """Returns the SHA-256 of what decides a run's result, hexadecimal.

  Args:
    config: of the run.
    overrides: fields that the sweep sets; a dataset among them counts by its
      path, others by their weights.
  """
  values = fields.flatten(config_lib.to_dict(config))
  usual = fields.flatten(config_lib.to_dict(config_lib.Config()))
  for flat in (values, usual):
    for name in set(constraints.SOURCES) - set(overrides):
      datasets = constraints.parse_sources(flat[name], name=name)
      flat[name] = [weight for _, weight in datasets]
  decides = {
    name: value
    for name, value in values.items()
    if value != usual[name] and (name in _COUNT or not resume.may_change(name))
  }
  text = json.dumps(decides, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()


def as_text(value: Any) -> str:
  """Returns a value as a flag has it."""
  if isinstance(value, list):
    value = tuple(value)
  return value if isinstance(value, str) else str(value)


def _pairs(sweep: files.Sweep, base) -> list[tuple[str, dict[str, Any]]]:
  """Calls the file's function, whose mistakes are a user's."""
  try:
    return [
      (name, dict(overrides))
      for name, overrides in sweep.points(base.copy_and_resolve_references())
    ]
  except errors.InputError:
    raise
  except Exception as error:
    raise errors.InputError(
      f"sweep {sweep.name}: sweep(preset) fails: {type(error).__name__}: "
      f"{error}. It yields pairs of a name and {{field: value}}."
    ) from error
