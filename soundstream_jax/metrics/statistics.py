"""Means over clips with their uncertainty, of one system and of two.

A score differs more between clips than between systems: `interval` says how
well a mean is known, and `paired` compares two systems clip by clip, which
leaves out what the clips have in common.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Interval:
  """A mean and where it may lie.

  Attributes:
    mean: over the clips with a value; NaN of none.
    low: of the 95 % interval of Student's t; -inf of a single clip.
    high: of it; inf of a single clip.
    count: clips with a value.
    missing: clips without one.
  """

  mean: float
  low: float
  high: float
  count: int
  missing: int = 0


def interval(values: Iterable[float | None]) -> Interval:
  """Returns the mean over clips [N] and its 95 % interval.

  Args:
    values: of each clip; None or NaN is a missing one.
  """
  values = _floats(values)
  found = values[~np.isnan(values)]
  count, missing = len(found), len(values) - len(found)
  if not count:
    return Interval(np.nan, np.nan, np.nan, 0, missing)
  mean = float(np.mean(found))
  if count == 1:
    return Interval(mean, -np.inf, np.inf, 1, missing)
  half = _quantile(count - 1) * float(np.std(found, ddof=1)) / np.sqrt(count)
  return Interval(mean, mean - half, mean + half, count, missing)


def paired(a: Iterable[float | None], b: Iterable[float | None]) -> Interval:
  """Returns the interval of a - b over the clips that both have a value of.

  Args:
    a: [N], of one system.
    b: [N], of another on the same clips in the same order.

  Raises:
    ValueError: they are not of one length.
  """
  a, b = _floats(a), _floats(b)
  if len(a) != len(b):
    raise ValueError(f"{len(a)} values cannot be paired with {len(b)}")
  return interval(a - b)


def _floats(values: Iterable[float | None]) -> np.ndarray:
  return np.array(
    [np.nan if value is None else value for value in values], np.float64
  )


def _quantile(degrees: int) -> float:
  """Returns the 97.5 % quantile of Student's t."""
  from scipy import special

  return float(special.stdtrit(degrees, 0.975))
