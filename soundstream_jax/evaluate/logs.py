"""Reads metrics.jsonl of a run that may be running."""

import json
import pathlib
from typing import Any


def read(metrics_file: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the values of each line: `step` and what was logged there.

  A line that is half written, the last one of a run that is running or of one
  that was killed, is left out.
  """
  found = []
  for line in metrics_file.read_text().splitlines():
    try:
      found.append(json.loads(line))
    except ValueError:
      continue
  return found
