"""Arrays of an origin that fit another configuration, and those that do not.

Generator and mel features have to be of one kind in both: then parameters are
taken by name and shape. Quantizer layers build on each other, so codebooks are
taken from the first one on; discriminators are taken as whole networks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import fingerprint
from soundstream_jax.checkpoint import origin as origin_lib
from soundstream_jax.model import quantizers

_LAYERS = "quantizer.num_quantizers"
# Where parameters of two values have other names or another meaning, and of what
# they were before they were learnt.
_MAY_DIFFER = ("model.film", "model.input_gain")
_MOST_NAMED = 8


@dataclasses.dataclass(frozen=True)
class Fit:
  """Arrays to begin with; parameters are nested, and lack what stays fresh."""

  params: dict[str, Any]
  ema_params: dict[str, Any]
  discriminators: dict[str, Any]
  vectors: np.ndarray  # [q, K, D] of the first layers
  # `counts` [q, K] and `sums` [q, K, D], where the origin has them.
  statistics: Mapping[str, np.ndarray] | None
  taken: tuple[str, ...]
  fresh: tuple[str, ...]
  unused: tuple[str, ...]


def check(
  config: config_lib.Config, other: config_lib.Config, *, name: str
) -> None:
  """Refuses an origin whose generator is another one.

  Args:
    config: what is to be trained.
    other: of the origin.
    name: of the origin, as in "init_from=runs/a".

  Raises:
    InputError: with the field, and the value that fits.
  """
  for field in _fields(config, "audio", "model"):
    theirs, ours = config_lib.get(other, field), config_lib.get(config, field)
    if theirs != ours and field not in _MAY_DIFFER:
      raise errors.InputError(
        f"{name} has {field}={theirs}, this run {ours}. Set --config.{field}="
        f"{theirs}."
      )


def layers(config: config_lib.Config, other: config_lib.Config) -> int:
  """Returns how many of the first codebooks fit.

  Of kinds whose layers have projections, which are parameters, all or none.
  """
  kind = [
    field
    for field in fingerprint.STRUCTURE
    if field.startswith("quantizer.") and field != _LAYERS
  ]
  if any(
    config_lib.get(config, field) != config_lib.get(other, field)
    for field in kind
  ):
    return 0
  here, there = config.quantizer, other.quantizer
  if (
    quantizers.of(here).projects and here.num_quantizers != there.num_quantizers
  ):
    return 0
  return min(here.num_quantizers, there.num_quantizers)


def fit(
  config: config_lib.Config,
  origin: origin_lib.Origin,
  *,
  params: Mapping[str, Any],
  discriminators: Mapping[str, Any],
) -> Fit:
  """Returns what of an origin a run begins with.

  Args:
    config: what is to be trained; `check` passed.
    origin: that was read.
    params: of the fresh generator, arrays or shapes.
    discriminators: likewise, by network.
  """
  report = _Report()
  count = layers(config, origin.config)
  drop = [] if config.model.film == origin.config.model.film else ["film"]
  if not count:  # projections are of no use without their codes
    drop.append("quantizer")
  ema = _by_name(params, _without(origin.ema, drop))
  raw = ema
  if origin.raw is not None:
    raw = _by_name(params, _without(origin.raw, drop))
  report.generator(params, origin, ema)
  report.codebooks(config, origin, count)
  statistics = origin.statistics
  if statistics is not None:
    statistics = {name: array[:count] for name, array in statistics.items()}
  return Fit(
    params=raw,
    ema_params=ema,
    discriminators=report.networks(discriminators, origin.discriminators),
    vectors=origin.vectors[:count],
    statistics=statistics,
    taken=tuple(report.taken),
    fresh=tuple(report.fresh),
    unused=tuple(report.unused),
  )


def named(texts: Sequence[str]) -> str:
  """Returns texts in one line, of many the first ones."""
  more = len(texts) - _MOST_NAMED
  tail = f", and {more} more" if more > 0 else ""
  return "; ".join(texts[:_MOST_NAMED]) + tail


class _Report:
  """Lists of what is taken, left fresh, and not used."""

  def __init__(self):
    self.taken: list[str] = []
    self.fresh: list[str] = ["optimizer states, which are never taken"]
    self.unused: list[str] = []

  def generator(self, params, origin, fits) -> None:
    here, there = _shapes(params), _shapes(origin.ema)
    count = sum(np.size(leaf) for leaf in _flat(fits).values())
    kinds = "averaged and raw"
    if origin.raw is None:
      kinds = "averaged (for the raw ones too)"
    self.taken.append(f"{kinds} generator parameters, {count / 1e6:.2f} M each")
    fits = _flat(fits)
    for name in sorted(here.keys() - fits.keys()):
      other = there.get(name, "none")
      self.fresh.append(f"generator {name} ({here[name]} here, {other} there)")
    for name in sorted(there.keys() - fits.keys()):
      self.unused.append(f"generator {name} {there[name]}")

  def codebooks(self, config, origin, count: int) -> None:
    here = quantizers.codebooks_shape(config)
    there = origin.vectors.shape
    if count:
      about = "with" if origin.statistics is not None else "without"
      self.taken.append(f"{_range(0, count)} {about} their statistics")
    if count and origin.statistics is None:
      self.fresh.append(f"statistics of {_range(0, count)}, of uniform use")
    if count < here[0]:
      self.fresh.append(
        f"{_range(count, here[0])} ({here} here, {there} there)"
      )
    if count < there[0]:
      self.unused.append(f"{_range(count, there[0])} of {there}")

  def networks(self, here, there) -> dict[str, Any]:
    """Returns those discriminators that fit."""
    found = {}
    for name in sorted(here.keys() | there.keys()):
      ours = _shapes({name: here.get(name, {})})
      theirs = _shapes({name: there.get(name, {})})
      if ours == theirs:
        found[name] = there[name]
        continue
      one = min(ours.items() ^ theirs.items())[0]
      shapes = (
        f"{one}: {ours.get(one, 'none')} here, {theirs.get(one, 'none')} there"
      )
      if ours:
        self.fresh.append(f"discriminator {name} ({shapes})")
      if theirs:
        self.unused.append(f"discriminator {name}")
    if found:
      self.taken.append(f"discriminators {', '.join(found)}")
    return found


def _range(first: int, end: int) -> str:
  if end == first + 1:
    return f"codebook {end}"
  return f"codebooks {first + 1} to {end}"


def _by_name(fresh: Mapping, there: Mapping) -> dict[str, Any]:
  """Returns those arrays that have name and shape of a fresh one."""
  shapes = _shapes(fresh)
  found = {
    name: array
    for name, array in _flat(there).items()
    if shapes.get(name) == np.shape(array)
  }
  return flax.traverse_util.unflatten_dict(found, sep="/")


def _without(tree: Mapping, names: Sequence[str]) -> dict[str, Any]:
  return {name: branch for name, branch in tree.items() if name not in names}


def _shapes(tree: Mapping) -> dict[str, tuple[int, ...]]:
  return {name: tuple(leaf.shape) for name, leaf in _flat(tree).items()}


def _flat(tree: Mapping) -> dict[str, Any]:
  return flax.traverse_util.flatten_dict(dict(tree), sep="/")


def _fields(config: config_lib.Config, *groups: str) -> list[str]:
  return [
    f"{group}.{field.name}"
    for group in groups
    for field in dataclasses.fields(getattr(config, group))
  ]
