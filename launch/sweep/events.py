"""Events of a point: WORKDIR/point.jsonl, a line for each.

    {"time": 1.5, "event": "submitted", "job": "12_3", "log": "slurm/..."}
    {"time": 2.5, "event": "train", "process": {...}, "hardware": ..., ...}
    {"time": 3.5, "event": "stopping"}
    {"time": 4.5, "event": "train ended", "code": 75}
    {"time": 5.5, "event": "evaluate", "words": [...]}
    {"time": 6.5, "event": "evaluate ended", "code": 0}

slurm.sbatch writes such lines, too.
"""

import pathlib
import time
from typing import Any

from soundstream_jax import errors
from soundstream_jax.evaluate import logs
from soundstream_jax.train.monitoring import log_files

NAME = "point.jsonl"
TRAIN, EVALUATE = "train", "evaluate"


def append(workdir: pathlib.Path, event: str, **values: Any) -> None:
  """Adds an event.

  Raises:
    DiskError, InputError: as `errors.writing`.
  """
  with errors.writing(NAME, workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    lines = log_files.LineFile(workdir / NAME)
    lines.append({"time": round(time.time(), 3), "event": event, **values})
    lines.close()


def read(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the events, the oldest first."""
  file = workdir / NAME
  return logs.read(file) if file.is_file() else []
