"""The file of results: a run for each card, code and model, an entry an item.

    {"runs": [{"of": {...}, "about": {...}, "entries": {"step/auto": {...}}}]}

`of` is what results stand and fall with. A run whose `of` is that of today's is
gone on with; others stay as they are. An entry without `done` was interrupted:
what it has is shown, and its item is measured again.
"""

import json
import pathlib
from typing import Any

from soundstream_jax import errors, whole_files

Entry = dict[str, Any]

# What is committed; without a GPU nothing is written there.
COMMITTED = pathlib.Path(__file__).parents[1] / "results_gpu.json"
WITHOUT_A_GPU = "out/gpu/results_cpu.json"


def path_for(device: str, asked: str) -> pathlib.Path:
  """Returns the file of results.

  Args:
    device: 'cuda' or 'cpu'.
    asked: --json; '' is the device's own.

  Raises:
    InputError: results of a CPU would go where those of GPUs are.
  """
  if device == "cuda":
    return pathlib.Path(asked or COMMITTED)
  path = pathlib.Path(asked or WITHOUT_A_GPU)
  same_file = path.exists() and COMMITTED.exists() and path.samefile(COMMITTED)
  if same_file or path.resolve() == COMMITTED.resolve():
    raise errors.InputError(
      f"--json={asked}: this file is for results of GPUs, and --device={device}. "
      "Name another one."
    )
  return path


class Results:
  """The file, and the one run in it that is gone on with."""

  def __init__(self, path: pathlib.Path, of: dict[str, Any]):
    """Opens the file if it is there.

    Raises:
      InputError: it is not such a file.
    """
    self._path = path
    # As JSON gives them back.
    of = json.loads(json.dumps(of))
    self._runs = runs(path)
    self.run = next((run for run in self._runs if run["of"] == of), None)
    if self.run is None:
      self.run = {"of": of, "about": {}, "entries": {}}
    else:
      self._runs.remove(self.run)
    self._runs.append(self.run)  # the latest is the last

  @property
  def entries(self) -> dict[str, Entry]:
    return self.run["entries"]

  def is_done(self, name: str) -> bool:
    return bool(self.entries.get(name, {}).get("done"))

  def begin(self, name: str, **known) -> None:
    """Forgets what an item had, which is measured now."""
    self.entries[name] = dict(known)

  def add(self, name: str, values: Entry) -> None:
    """Adds what an item gave, and writes the file."""
    self.entries[name].update(values)
    self.write()

  def write(self) -> None:
    """Writes the file.

    Raises:
      DiskError, InputError: as `errors.writing`.
    """
    with errors.writing("the results", self._path.parent):
      self._path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"runs": self._runs}, indent=1)
    whole_files.write(self._path, text + "\n")


def runs(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the runs of a file, of none if it is not there.

  Raises:
    InputError: it is not such a file.
  """
  if not path.exists():
    return []
  try:
    found = json.loads(path.read_text())["runs"]
    for run in found:
      run["of"], run["about"], run["entries"].items()
    return found
  except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
    raise errors.InputError(
      f"--json={path} cannot be read ({error}). Remove it, or name another "
      "file."
    ) from None
