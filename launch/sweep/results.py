"""Results of a sweep as one tidy table: results.csv and results.json."""

import csv
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from soundstream_jax import whole_files
from soundstream_jax.launch.sweep import states as states_lib

COLUMNS = (
  "sweep",
  "point",
  "hash",
  "overrides",
  "key",
  "bitrate_bps",
  "payload_bps",
  "metric",
  "class",
  "value",
  "low",
  "high",
  "count",
  "git_revision",
  "seconds",
  "hardware",
)
BASELINES = "baselines"


def write(
  out: pathlib.Path,
  sweep: str,
  rows: Sequence[dict[str, Any]],
  states: Sequence[states_lib.State],
) -> list[dict[str, Any]]:
  """Writes what the evaluated points came to; returns it.

  Args:
    out: the sweep's folder.
    sweep: its name.
    rows: points of sweep.json.
    states: of the points.
  """
  found = []
  for row, state in zip(rows, states, strict=True):
    if state.name == states_lib.DONE:
      found += _of_folder(
        out / row["workdir"] / "evaluation",
        {
          "sweep": sweep,
          "point": row["name"],
          "hash": row["hash"],
          "overrides": row["overrides"],
          "git_revision": state.git_revision,
          "seconds": state.seconds,
          "hardware": state.hardware,
        },
      )
  found += _of_folder(
    out / BASELINES,
    {
      "sweep": sweep,
      "point": BASELINES,
      "hash": "",
      "overrides": {},
      **states_lib.provenance(out / BASELINES),
    },
  )
  text = io.StringIO()
  lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
  lines.writeheader()
  for values in found:
    lines.writerow(values | {"overrides": json.dumps(values["overrides"])})
  whole_files.write(out / "results.csv", text.getvalue())
  whole_files.write(out / "results.json", json.dumps(found, indent=1) + "\n")
  return found


def _of_folder(
  folder: pathlib.Path, common: dict[str, Any]
) -> list[dict[str, Any]]:
  """Returns a row for each system, metric and class of an evaluation."""
  try:
    values = json.loads((folder / "evaluation.json").read_text())
  except (OSError, ValueError):
    return []
  return [
    dict.fromkeys(COLUMNS)
    | common
    | {
      "key": system["key"],
      "bitrate_bps": system.get("bitrate_bps"),
      "payload_bps": system.get("payload_bps"),
      "metric": metric,
      "class": kind,
      "value": measured.get("mean"),
      "low": measured.get("low"),
      "high": measured.get("high"),
      "count": measured.get("count"),
    }
    for system in values.get("systems", ())
    for metric, classes in system.get("metrics", {}).items()
    for kind, measured in classes.items()
  ]
