"""Prints what `prepare` tells: a dataset's origin, and its result."""

import collections
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from soundstream_jax import console
from soundstream_jax.data_pipelines import corpus
from soundstream_jax.data_pipelines.preparation import records
from soundstream_jax.settings import numbers

_MOST_LINES = 50


def describe(dataset: corpus.Corpus) -> str:
  """Returns lines on where a dataset comes from and what it asks."""
  rate = f"{dataset.sample_rate_hz:,} Hz" if dataset.sample_rate_hz else "mixed"
  lines = {
    "name": dataset.title or "any folder of audio files",
    "kind": dataset.kind,
    "get it from": dataset.homepage,
    "archives": ", ".join(archive.name for archive in dataset.archives),
    "licence": dataset.licence,
    "version": dataset.version,
    "hours": f"{dataset.hours:,g}" if dataset.hours else "",
    "sample rate": rate,
    "splits": dataset.splits,
    "files": ", ".join(f"{p} {n:,}" for p, n in dataset.expected.items()),
    "citation": dataset.citation,
  }
  return "\n".join(f"{k:<12} {v}" for k, v in lines.items() if v)


def warn_incomplete(
  dataset: corpus.Corpus, files: Sequence[corpus.File]
) -> None:
  """Prints a line for each part that is there, but not all of it."""
  counts = collections.Counter(dataset.part_of(file.name) for file in files)
  for part, expected in dataset.expected.items():
    if 0 < counts[part] < expected:
      print(
        f"warning: {part} has {counts[part]:,} of {expected:,} files; was it "
        "downloaded and unpacked to the end?",
        file=sys.stderr,
      )


def list_skipped(skipped: Sequence[Mapping[str, str]], num_files: int) -> None:
  """Prints the files that were left out, each with the reason."""
  if skipped:
    print(f"skipped {len(skipped)} of {num_files} files:", file=sys.stderr)
    _list(skipped)


def list_damaged(damaged: Sequence[Mapping[str, str]], num_files: int) -> None:
  """Prints the files that were used as far as they go, each with the reason."""
  if damaged:
    print(
      f"damaged: {len(damaged)} of {num_files} files, used as far as they go:",
      file=sys.stderr,
    )
    _list(damaged)


def _list(files: Sequence[Mapping[str, str]]) -> None:
  for file in files[:_MOST_LINES]:
    name, reason = (console.shown(file[key]) for key in ("name", "reason"))
    print(f"  {name}: {reason}", file=sys.stderr)
  if len(files) > _MOST_LINES:
    print("  ... and more, all of them in datasheet.json", file=sys.stderr)


def report(
  tallies: Mapping[str, records.Tally],
  sheet: Mapping[str, Any],
  dataset: corpus.Corpus,
) -> None:
  """Prints what each split came to, and warnings about those that are empty.

  Args:
    tallies, sheet: as `assemble.assemble` returns them.
  """
  rate_hz = sheet["sample_rate_hz"]
  print(f"{'split':<12}{'hours':>8}{'records':>9}{'groups':>8}{'MB':>10}")
  for split, tally in tallies.items():
    hours, megabytes = tally.samples / rate_hz / 3600, 2 * tally.samples / 1e6
    print(
      f"{split:<12}{hours:>8.2f}{tally.records:>9}{len(tally.groups):>8}"
      f"{megabytes:>10.1f}"
    )
  dropped = sum(tally.dropped for tally in tallies.values())
  if dropped:
    samples = sum(tally.dropped_samples for tally in tallies.values())
    print(
      f"dropped {dropped} ends of groups shorter than "
      f"{records.SHORTEST_SECONDS} s: {samples / rate_hz:.1f} s in all."
    )
  print(
    f"clipped: {numbers.percent(sheet['clipped_share'])} of the files' "
    f"samples; silent: {numbers.percent(sheet['silent_share'])} of the time."
  )
  empty = [split for split, tally in tallies.items() if not tally.records]
  if empty:
    print(
      f"warning: no group fell into {' or '.join(empty)}; training works, but "
      f"nothing is held out there to measure on. {dataset.more_groups}",
      file=sys.stderr,
    )
