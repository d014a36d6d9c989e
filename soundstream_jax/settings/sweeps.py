"""Sweeps by name: which configurations are to be compared, for any preset.

A sweep is a Python file whose docstring says what it asks, with

    FIXES = "bitrate"  # or "depth" (quantizer layers), or "": nothing
    BITRATE_BPS = 6_000  # where it fixes one

    def sweep(preset):
      yield "name", {"field.of.config": value}

The preset is the ConfigDict that its points change: sizes follow from those
there, so one sweep serves a preset of any size.
"""

import copy
import dataclasses
import importlib.util
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections

from soundstream_jax import errors, paths, rates
from soundstream_jax.settings import fields, presets

FIXES = ("bitrate", "depth", "")

# Points are folders.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# That k-means needs for codebooks larger than the preset's.
FRAMES_PER_CODE = 4


@dataclasses.dataclass(frozen=True)
class Point:
  """One configuration of a sweep, as its difference from the preset."""

  name: str
  overrides: Mapping[str, Any]  # dotted field -> value


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep's file, read.

  Attributes:
    name: of the shipped sweep, or of the user's file without its .py.
    path: of the file.
    asks: its docstring.
    fixes: one of FIXES, the same in all points.
    bitrate_bps: of every point, where it fixes that; else None.
    function: of the file; `points` calls it.
  """

  name: str
  path: pathlib.Path
  asks: str
  fixes: str
  bitrate_bps: float | None
  function: Callable[[ml_collections.ConfigDict], Iterable]

  def points(self, preset: ml_collections.ConfigDict) -> list[Point]:
    """Returns the points for a preset, in the order of the file.

    Raises:
      InputError: the file yields something else, a name twice or a name that
        is no folder's, or nothing.
    """
    found = {}
    for pair in self.function(copy.deepcopy(preset)) or ():
      point = self._point(pair)
      if point.name in found:
        raise errors.InputError(
          f"--sweep={self.name}: two points are called {point.name}."
        )
      found[point.name] = point
    if not found:
      raise errors.InputError(f"--sweep={self.name} has no points.")
    return list(found.values())

  def apply(
    self, preset: ml_collections.ConfigDict, point: Point
  ) -> ml_collections.ConfigDict:
    """Returns the configuration of a point, for `config.from_dict`.

    Raises:
      InputError: a field that there is not, or a home.
    """
    flag = f"--sweep={self.name}: {point.name}"
    return apply(preset, point.overrides, flag=flag)

  def check(self, point: Point, its_rates: rates.Rates) -> None:
    """Refuses a point whose bitrate is not the one that the sweep fixes.

    Args:
      point: one of `points`.
      its_rates: of its configuration.

    Raises:
      InputError: with the nearest bitrate that is possible.
    """
    if self.bitrate_bps is None:
      return
    try:
      its_rates.check_bitrate(self.bitrate_bps)
    except errors.InputError as error:
      raise errors.InputError(
        f"--sweep={self.name}: {point.name}: {error}"
      ) from None

  def _point(self, pair: Any) -> Point:
    match pair:
      case (str(name), Mapping() as overrides) if _NAME.fullmatch(name):
        return Point(name, dict(overrides))
    raise errors.InputError(
      f"--sweep={self.name} yields {pair!r}. Yield a name of letters, digits, "
      "'_', '-' and '.', and a dict of fields, as in ('half', "
      "{'model.decoder_channels': 16})."
    )


def files() -> dict[str, pathlib.Path]:
  """Returns the shipped sweeps, name -> file, in the order of their names."""
  spec = importlib.util.find_spec("soundstream_jax.configs")
  folder = pathlib.Path(spec.origin).parent / "sweeps"
  return {
    path.stem: path
    for path in sorted(folder.glob("*.py"))
    if not path.stem.startswith("_")
  }


def load(name: str) -> Sweep:
  """Returns the sweep of a shipped name or of a Python file.

  Raises:
    InputError: no such sweep or file, with the nearest name, or a file that is
      no sweep.
  """
  flag = f"--sweep={paths.expand(name)}"
  module = presets.read_module(
    name, files(), flag=flag, kind="sweep", defines="sweep(preset)"
  )
  path = pathlib.Path(module.__file__)
  function = getattr(module, "sweep", None)
  if not callable(function):
    raise errors.InputError(
      f"{flag}: the file defines no sweep(preset) that yields (name, "
      "{field: value})."
    )
  fixes = getattr(module, "FIXES", "")
  bitrate_bps = getattr(module, "BITRATE_BPS", None)
  if fixes not in FIXES:
    raise errors.InputError(
      f"{flag}: FIXES={fixes!r} is none of 'bitrate', 'depth' and ''."
    )
  number = isinstance(bitrate_bps, int | float) and bitrate_bps > 0
  if number != (fixes == "bitrate"):
    raise errors.InputError(
      f"{flag}: FIXES={fixes!r} and BITRATE_BPS={bitrate_bps!r}. A sweep that "
      "fixes the bitrate says which, as in BITRATE_BPS = 6_000; others do not."
    )
  return Sweep(
    name=path.stem,
    path=path,
    asks=(module.__doc__ or "").strip(),
    fixes=fixes,
    bitrate_bps=bitrate_bps,
    function=function,
  )


def apply(
  preset: ml_collections.ConfigDict,
  overrides: Mapping[str, Any],
  *,
  flag: str = "sweep",
) -> ml_collections.ConfigDict:
  """Returns a preset with other values; the preset stays as it is.

  Args:
    preset: of `presets.load`.
    overrides: dotted field -> value.
    flag: for messages.

  Raises:
    InputError: a field that there is not, with the nearest name, or a home.
  """
  chosen = copy.deepcopy(preset)
  flat = fields.flatten(chosen)
  for key in overrides:
    if key not in flat:
      raise errors.InputError(
        f"{flag} sets {key}; there is no such field.{errors.nearest(key, flat)}"
      )
  with chosen.ignore_type():
    chosen.update_from_flattened_dict(dict(overrides))
  presets.expand_paths(chosen, flag=flag)
  return chosen


def rates_of(preset: ml_collections.ConfigDict) -> rates.Rates:
  """Returns the rates of a preset.

  Raises:
    InputError: strides or a codebook size that cannot be.
  """
  return rates.Rates(
    sample_rate_hz=preset.audio.sample_rate_hz,
    strides=tuple(preset.model.strides),
    num_quantizers=preset.quantizer.num_quantizers,
    codebook_size=preset.quantizer.codebook_size,
  )


def at_bitrate(
  preset: ml_collections.ConfigDict,
  bitrate_bps: float,
  overrides: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns overrides of a point with as many layers as make a bitrate.

  The nearest where none do: `Sweep.check` refuses the point then. K-means gets
  more batches where the codebooks are larger than those of the preset.
  """
  chosen = apply(preset, overrides)
  found = rates_of(chosen)
  frames = chosen.batch_size * found.num_frames(chosen.data.crop_samples)
  needed = -(-FRAMES_PER_CODE * found.codebook_size // frames)
  result = {
    **overrides,
    "quantizer.num_quantizers": found.layers_near(bitrate_bps),
  }
  if 0 < chosen.quantizer.kmeans_batches < needed:
    result["quantizer.kmeans_batches"] = needed
  return result
