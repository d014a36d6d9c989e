"""Seeded synthetic sound: voices, instruments, noises, group by group.

Stands in for a corpus where none is at hand. A group is one speaker, one
instrument or one colour of noise, and sounds alike throughout. It depends on
(seed, kind, index of the group, seconds) only.
"""

import functools
import itertools
import pathlib

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import waveform
from soundstream_jax.audio.synthetic import instruments, noises, voices
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.audio import measure
from soundstream_jax.data_pipelines.preparation import records

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


FLAGS = ("minutes", "seed")


def describe(kind: str | None, *, minutes: float, seed: int) -> corpus.Corpus:
  """Returns the dataset as `prepare` describes it; no kind is voices."""
  kind = kind or "voices"
  return corpus.Corpus(
    name="synthetic",
    title=f"Synthetic {kind}",
    kind=kind,
    homepage="",
    licence="none needed: computed by soundstream_jax",
    version="",
    citation="",
    sample_rate_hz=0,
    hours=0.0,
    splits="Every group falls into one split, by its number.",
    find=lambda root: [],
    compute=functools.partial(files, kind, minutes),
    read=functools.partial(_read, kind, minutes=minutes, seed=seed),
    more_groups=corpus.MORE_GROUPS_BY_FLAGS,
  )


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
  groups = _num_groups(minutes)
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
  return splits, seconds_per_group(minutes)


def seconds_per_group(minutes: float) -> float:
  return minutes * 60 / _num_groups(minutes)


def files(
  kind: str,
  minutes: float,
  percentages: tuple[int, int, int],
  sample_rate_hz: int,
) -> list[corpus.File]:
  """Returns the groups as if each were a file of 16-bit samples.

  Raises:
    InputError: as `plan`.
  """
  splits, seconds = plan(kind, minutes=minutes, percentages=percentages)
  size_bytes = 2 * round(seconds * sample_rate_hz)
  return [
    corpus.File(pathlib.Path(), name, name, size_bytes, split)
    for split, indices in splits.items()
    for name in (group_name(kind, index) for index in indices)
  ]


def group_name(kind: str, index: int) -> str:
  return f"{kind}_{index:04d}"


def index_of(name: str) -> int:
  """Undoes `group_name`."""
  return int(name.rpartition("_")[2])


def piece(
  kind: str, index: int, *, seconds: float, seed: int, sample_rate_hz: int
) -> records.Piece:
  """Returns one group's audio, with a peak between 0.3 and 0.7."""
  rng = np.random.default_rng([seed, list(KINDS).index(kind), index])
  audio = KINDS[kind](rng, round(seconds * sample_rate_hz), sample_rate_hz)
  audio *= rng.uniform(0.3, 0.7) / np.abs(audio).max()
  group = group_name(kind, index)
  return records.Piece(group, group, waveform.to_int16(audio))


def _read(
  kind: str,
  file: corpus.File,
  *,
  minutes: float,
  seed: int,
  sample_rate_hz: int,
  sound: measure.Sound,
) -> records.Piece:
  """Returns the audio of a group that `files` listed as a file."""
  made = piece(
    kind,
    index_of(file.name),
    seconds=seconds_per_group(minutes),
    seed=seed,
    sample_rate_hz=sample_rate_hz,
  )
  sound.add_file(
    seconds=len(made.audio) / sample_rate_hz,
    rate_hz=sample_rate_hz,
    samples=len(made.audio),
    clipped=0,
  )
  return made


def _num_groups(minutes: float) -> int:
  return max(LEAST_GROUPS, round(minutes * 60 / SECONDS_PER_GROUP))
