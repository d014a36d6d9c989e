"""Points of a sweep: a point is its configuration, whatever it is called.

Its hash is over every field that decides a result and is not at its default,
so that a field that a later version adds, and that is off, changes no hash.
Datasets may lie elsewhere, as when a run is resumed, unless the sweep itself
sets where they lie.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.settings import (
  constraints,
  fields,
  presets,
  resume,
  sweeps,
)

# They may change when a run resumes, but not what it comes to.
_COUNT = ("num_steps", "init_from", "train_dtype")
LONGEST_NAME = 60


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
  sweep: sweeps.Sweep, preset: str, common: presets.Given
) -> list[Point]:
  """Returns the points of a sweep.

  Args:
    sweep: as read.
    preset: name or path, the size of all points.
    common: --config flags that change the preset, before the sweep does.

  Raises:
    InputError: a field or a value that there cannot be, a bitrate that is not
      the sweep's, or two points that are one.
  """
  base = config_lib.load(preset)
  for key, text in common.overrides:
    config_lib.override(base, key, text)
  points, seen = [], {}
  for named in _points(sweep, base):
    try:
      point = _resolve(sweep, base, named)
    except errors.InputError as error:
      raise errors.InputError(
        f"sweep {sweep.name}, point {named.name}: {error}"
      ) from None
    other = seen.setdefault(point.hash, point)
    if other is not point:
      raise errors.InputError(
        f"sweep {sweep.name}: {other.name} and {point.name} are one "
        "configuration. Leave one of them out, or change a field that decides "
        "a result."
      )
    points.append(point)
  return points


def _resolve(sweep: sweeps.Sweep, base: Any, named: sweeps.Point) -> Point:
  """Returns a point as training will have it, from its flags."""
  if len(named.name) > LONGEST_NAME:
    raise errors.InputError(
      f"its name, which becomes a folder's, has {len(named.name)} characters; "
      f"at most {LONGEST_NAME} are allowed."
    )
  overrides = dict(named.overrides)
  values = copy.deepcopy(base)
  for key, value in overrides.items():
    config_lib.override(values, key, as_text(value))
  config = config_lib.from_dict(values)
  if not config.init_from:
    constraints.check_kmeans(config)
  sweep.check(named, config.rates)
  layers = base.quantizer.num_quantizers
  if sweep.fixes == "depth" and config.quantizer.num_quantizers != layers:
    raise errors.InputError(
      "the sweep fixes the depth, and it has quantizer.num_quantizers="
      f"{config.quantizer.num_quantizers}. Use {layers}, the preset's."
    )
  return Point(named.name, overrides, config, digest(config, overrides))


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


def _points(sweep: sweeps.Sweep, base: Any) -> list[sweeps.Point]:
  """Calls the file's function, whose mistakes are a user's."""
  try:
    return sweep.points(base)
  except errors.InputError:
    raise
  except Exception as error:
    raise errors.InputError(
      f"--sweep={sweep.name}: sweep(preset) fails: {type(error).__name__}: "
      f"{error}. It yields pairs of a name and {{field: value}}."
    ) from error
