"""A sweep's file: which points it has, and what it keeps the same for all.

A sweep is a Python file with `sweep(preset)`, which yields (name, {field:
value}) for a preset of any size; FIXES = 'bitrate' or 'depth' says what its
points share, and BITRATE_BPS the bitrate. Loaded by its path, never imported.
"""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths

FIXES = ("", "bitrate", "depth")


@dataclasses.dataclass(frozen=True)
class Sweep:
  """The file, read."""

  name: str
  fixes: str  # of FIXES
  bitrate_bps: float | None  # where it fixes one
  points: Callable[[Any], Any]  # (ConfigDict) -> pairs (name, overrides)


def shipped() -> dict[str, pathlib.Path]:
  """Returns the sweeps of configs/sweeps, name -> file."""
  folder = next(iter(config_lib.preset_files().values())).parent / "sweeps"
  return {
    path.stem: path
    for path in sorted(folder.glob("*.py"))
    if not path.stem.startswith("_")
  }


def load(name: str) -> Sweep:
  """Returns the sweep of a shipped name or of a Python file.

  Raises:
    InputError: there is none, or the file is no sweep.
  """
  name = paths.expand(name)
  if name.endswith(".py") or os.sep in name:
    path = pathlib.Path(name)
    if not paths.readable(f"--sweep={name}", path):
      raise errors.InputError(f"--sweep={name}: there is no such file.")
    if path.suffix != ".py" or path.is_dir():
      raise errors.InputError(
        f"--sweep={name} is not a Python file. Give a sweep's name or a .py "
        "file that defines sweep(preset)."
      )
  else:
    known = shipped()
    if name not in known:
      raise errors.InputError(
        f"--sweep={name} is not a sweep.{errors.nearest(name, known)} Sweeps: "
        f"{', '.join(known)}; or give a path to a .py file."
      )
    path = known[name]
  spec = importlib.util.spec_from_file_location("soundstream_sweep", path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except SyntaxError as error:
    raise errors.InputError(
      f"--sweep={name}: line {error.lineno} is not Python ({error.msg})."
    ) from None
  points = getattr(module, "sweep", None)
  fixes = getattr(module, "FIXES", "")
  bitrate = getattr(module, "BITRATE_BPS", None)
  if not callable(points):
    raise errors.InputError(
      f"--sweep={name}: the file defines no sweep(preset), which yields pairs "
      "of a name and {field: value}."
    )
  if fixes not in FIXES:
    raise errors.InputError(
      f"--sweep={name}: FIXES={fixes!r} is none of 'bitrate', 'depth' and ''."
    )
  if fixes == "bitrate" and not isinstance(bitrate, int | float):
    raise errors.InputError(
      f"--sweep={name}: FIXES='bitrate' needs BITRATE_BPS, as in 6000."
    )
  return Sweep(path.stem, fixes, bitrate, points)
