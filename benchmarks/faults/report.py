"""The table of results: rows as they come, and a file that keeps them."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable

from benchmarks.faults import trial
from soundstream_jax import whole_files


class Results:
  """Results by name, in a JSON file that is whole after each of them."""

  def __init__(self, path: pathlib.Path, seed: int):
    self._path, self._seed = path, seed
    self._found = {}

  @property
  def names(self) -> set[str]:
    return set(self._found)

  def of(self, name: str) -> trial.Result:
    return self._found[name]

  def load(self) -> None:
    """Takes over the results of an earlier call; none where there are none."""
    if self._path.exists():
      for row in json.loads(self._path.read_text())["results"]:
        self._found[row["name"]] = trial.Result(**row)

  def add(self, result: trial.Result) -> None:
    self._found[result.name] = result
    rows = [dataclasses.asdict(one) for one in self._found.values()]
    text = json.dumps({"seed": self._seed, "results": rows}, indent=2)
    self._path.parent.mkdir(parents=True, exist_ok=True)
    whole_files.write(self._path, text + "\n")

  def passed(self, names: Iterable[str]) -> int:
    """Returns how many of these faults have a result that is no failure."""
    return sum(
      not self._found[name].problems for name in names if name in self._found
    )


def print_head() -> None:
  print(
    f"{'fault':<42} {'moment that was hit':<32} {'outcome':<9} "
    f"{'exits':<6} {'lost':>6} {'on/end':>7} {'same':>4} {'named':>5} {'all':>6}"
  )


def print_row(result: trial.Result) -> None:
  """Prints a row, and below it what failed."""
  exits = ",".join("-" if c is None else str(c) for c in result.codes)
  print(
    f"{result.name:<42} {result.moment:<32} {result.outcome:<9} {exits:<6} "
    f"{_seconds(result.lost_seconds):>6} {_seconds(result.on_seconds):>7} "
    f"{_word(result.equal):>4} {_word(result.named and True):>5} "
    f"{_seconds(result.seconds):>6}",
    flush=True,
  )
  for problem in result.problems:
    print(f"    {problem[:300]}", flush=True)


def _seconds(value: float | None) -> str:
  return "-" if value is None else f"{value:.1f}"


def _word(value: bool | None) -> str:
  return "-" if value is None else "yes" if value else "NO"
