"""The verdict on a case of two checkouts, and where they differ."""

import dataclasses
import gzip
import itertools
import pathlib

import numpy as np

from benchmarks.same_programs import canonical

SAME = ("equal", "same graph", "refused alike")
# What the package raises for what it does not take.
REFUSALS = ("InputError: ", "ValueError: ")
WIDTH = 160  # of a line that is shown


@dataclasses.dataclass(frozen=True)
class Verdict:
  """One case: `SAME`, or what is different."""

  name: str
  word: str
  seconds: float  # of both
  shown: str  # a hash, or what was refused
  details: tuple[str, ...] = ()

  @property
  def same(self) -> bool:
    return self.word in SAME


def judge(name: str, old: dict, new: dict, files: list[pathlib.Path]):
  """Returns the verdict on a case; equal files are deleted.

  Args:
    name: of the case.
    old: the line of one probe.
    new: of the other.
    files: the old and the new file, without the end of their names.
  """
  seconds = round(old["seconds"] + new["seconds"], 1)
  kind = next(k for k in ("error", "values", "text") if k in {**old, **new})
  shown = f"{old.get(kind, '-')[:16]} {new.get(kind, '-')[:16]}"
  if kind == "error":
    errors = [side.get("error", "nothing") for side in (old, new)]
    alike = errors[0] == errors[1] and errors[0].startswith(REFUSALS)
    details = (f"old: {errors[0]}", f"new: {errors[1]}")
    if alike:
      return Verdict(name, "refused alike", seconds, errors[0][:WIDTH])
    return Verdict(name, "failed", seconds, "", details)
  if old[kind] == new[kind]:
    for file in files:
      for end in (".txt.gz", ".npz"):
        pathlib.Path(f"{file}{end}").unlink(missing_ok=True)
    return Verdict(name, "equal", seconds, old[kind][:16])
  if kind == "values":
    return Verdict(name, "differs", seconds, shown, _values(files))
  texts = [
    gzip.decompress(pathlib.Path(f"{file}.txt.gz").read_bytes()).decode()
    for file in files
  ]
  word = "differs"
  if not name.startswith("leaves/"):
    graphs = [canonical.graph(text) for text in texts]
    word = "same graph" if graphs[0] == graphs[1] else word
  return Verdict(name, word, seconds, shown, _texts(name, texts, files))


def _texts(name, texts, files) -> tuple[str, ...]:
  lines = [text.split("\n") for text in texts]
  found = [f"texts: {file}.txt.gz" for file in files]
  pairs = itertools.zip_longest(*lines, fillvalue="")
  differing = [
    (number, pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1]
  ]
  found.append(f"{len(lines[0])} lines and {len(lines[1])}")
  for number, pair in differing[:2]:
    # Lines may be very long: from a little before where they part.
    alike = itertools.takewhile(
      lambda c: c[0] == c[1], zip(*pair, strict=False)
    )
    at = sum(1 for _ in alike)
    first = max(0, at - 40)
    found += [
      f"line {number}, {side}: {line[first : first + WIDTH].strip()}"
      for side, line in zip(("old", "new"), pair, strict=True)
    ]
  if not name.startswith("leaves/"):
    old, new = map(canonical.operations, texts)
    found += [
      f"{operation}: {old[operation]} -> {new[operation]}"
      for operation in sorted({*old, *new})
      if old[operation] != new[operation]
    ] or ["as many of every operation"]
  return tuple(found)


def _values(files) -> tuple[str, ...]:
  old, new = (dict(np.load(f"{file}.npz")) for file in files)
  if list(old) != list(new):
    only = [
      f"{p} in the {side} only"
      for side, one, other in (("old", old, new), ("new", new, old))
      for p in one
      if p not in other
    ]
    return tuple(only[:10] or ["leaves in another order"])
  differing = []
  for path, a in old.items():
    b = new[path]
    if (a.shape, a.dtype) != (b.shape, b.dtype):
      differing.append(
        (np.inf, f"{path}: {a.dtype}{a.shape} {b.dtype}{b.shape}")
      )
    elif a.tobytes() != b.tobytes():
      apart = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
      largest = np.abs(a.astype(np.float64)).max()
      differing.append((apart, f"{path}: {apart:.3g} apart, of {largest:.3g}"))
  differing.sort(key=lambda pair: -pair[0])
  head = f"{len(differing)} of {len(old)} leaves differ; most:"
  return (head, *(text for _, text in differing[:5]))
