"""A sweep's folder: sweep.json, points/NAME-HASH8/ and what is beside them.

A point's folder is found by its hash: one that is renamed keeps its work, and
one that is no longer in the sweep keeps its folder.
"""

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from soundstream_jax import console, errors, paths, whole_files
from soundstream_jax.launch.sweep import points as points_lib
from soundstream_jax.settings import sweeps

NAME = "sweep.json"
LOCK = ".sweep"
POINTS = "points"
VERSION = 1

_WORKDIR = re.compile(r".+-([0-9a-f]{8})")


def check_own(out: pathlib.Path) -> None:
  """Refuses a folder that cannot be written, or that is something else.

  Raises:
    InputError, DiskError: with the reason.
  """
  flag = f"--out={out}"
  paths.check_writable_folder(flag, out)
  paths.check_text(flag, out)
  with errors.reading(flag):
    others = out.exists() and any(out.iterdir())
  if others and not (out / LOCK).exists() and not (out / NAME).exists():
    raise errors.InputError(
      f"{flag} holds files that no sweep made. Use an empty folder."
    )


def workdirs(out: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the folders of points, the hash's start -> folder."""
  found = {}
  if (out / POINTS).is_dir():
    for path in sorted((out / POINTS).iterdir()):
      if match := _WORKDIR.fullmatch(path.name):
        found[match[1]] = path
  return found


def workdir(out: pathlib.Path, point: points_lib.Point) -> pathlib.Path:
  """Returns the folder of a point, which need not be there."""
  new = out / POINTS / f"{point.name}-{point.short}"
  return workdirs(out).get(point.short, new)


def dropped(
  out: pathlib.Path, points: Sequence[points_lib.Point]
) -> list[pathlib.Path]:
  """Returns the folders of points that the sweep has no longer."""
  kept = {point.short for point in points}
  return [path for short, path in workdirs(out).items() if short not in kept]


def write(
  out: pathlib.Path,
  sweep: sweeps.Sweep,
  preset: str,
  rows: Sequence[dict[str, Any]],
) -> None:
  """Writes sweep.json; rows are its points."""
  values = {
    "version": VERSION,
    "sweep": sweep.name,
    "preset": preset,
    "fixes": sweep.fixes,
    "points": list(rows),
  }
  with errors.writing("the sweep", out):
    out.mkdir(parents=True, exist_ok=True)
  whole_files.write(out / NAME, json.dumps(values, indent=2) + "\n")


def read(out: pathlib.Path) -> dict[str, Any]:
  """Returns sweep.json.

  Raises:
    InputError: there is none, or it cannot be read.
  """
  paths.readable(f"--out={out}", out)
  try:
    values = json.loads((out / NAME).read_text())
  except FileNotFoundError:
    raise errors.InputError(
      f"--out={out} holds no sweep. Start one with --sweep=NAME, or name "
      "another folder."
    ) from None
  except ValueError:
    values = None
  except OSError as error:
    raise errors.InputError(
      f"--out={out}: {console.shown(out / NAME)} cannot be read "
      f"({error.strerror})."
    ) from None
  if not isinstance(values, dict) or values.get("version") != VERSION:
    raise errors.InputError(
      f"--out={out}: {NAME} is not of version {VERSION}. Run the sweep's "
      "command again, which writes it anew."
    )
  return values
