"""Seeded synthetic sound: voices, instruments, noises, group by group.

Stands in for a corpus where none is at hand. A group is one speaker, one
instrument or one colour of noise, and sounds alike throughout. It depends on
(seed, kind, index of the group, seconds) only.
"""

import itertools

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import io
from soundstream_jax.data_pipelines import (
  instruments,
  noises,
  records,
  voices,
)

# Order matters: a kind's place is part of the seed.
KINDS = {
  "voices": voices.synthesize,
  "instruments": instruments.synthesize,
  "noises": noises.synthesize,
}
LEAST_GROUPS = 12
# More audio is more groups, not longer ones, so that variety grows with it.
SECONDS_PER_GROUP = 20
SHORTEST_GROUP_SECONDS = 2.0


def plan(
  kind: str, *, minutes: float, percentages: tuple[int, int, int]
) -> tuple[dict[str, list[int]], float]:
  """Returns (split -> its groups' indices, seconds per group).

  Every split that is wanted at all has a group, whatever the percentages.

  Raises:
    InputError: unknown kind, or too little audio for the groups.
  """
  if kind not in KINDS:
    raise errors.InputError(
      f"--kind={kind} is none of {', '.join(KINDS)}."
      f"{errors.nearest(kind, KINDS)}"
    )
  least = LEAST_GROUPS * SHORTEST_GROUP_SECONDS / 60
  if not least <= minutes < float("inf"):
    raise errors.InputError(
      f"--minutes={minutes:g} must be at least {least:g}: "
      f"{LEAST_GROUPS} groups of {SHORTEST_GROUP_SECONDS:g} s."
    )
  groups = max(LEAST_GROUPS, round(minutes * 60 / SECONDS_PER_GROUP))
  counts = [max(1, round(groups * p / 100)) if p else 0 for p in percentages]
  counts[0] = groups - counts[1] - counts[2]
  if counts[0] < 1:
    raise errors.InputError(
      f"--split={','.join(map(str, percentages))} leaves none of the {groups} "
      "groups for training. Give training a larger share."
    )
  indices = iter(range(groups))
  splits = {
    split: list(itertools.islice(indices, count))
    for split, count in zip(records.SPLITS, counts, strict=True)
  }
  return splits, minutes * 60 / groups


def piece(
  kind: str, index: int, *, seconds: float, seed: int, sample_rate_hz: int
) -> records.Piece:
  """Returns one group's audio, with a peak between 0.3 and 0.7."""
  rng = np.random.default_rng([seed, list(KINDS).index(kind), index])
  audio = KINDS[kind](rng, round(seconds * sample_rate_hz), sample_rate_hz)
  audio *= rng.uniform(0.3, 0.7) / np.abs(audio).max()
  group = f"{kind}_{index:04d}"
  return records.Piece(group, group, io.to_int16(audio))
