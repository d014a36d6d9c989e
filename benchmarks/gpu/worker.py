"""python -m benchmarks.gpu.worker CONDITIONS: measures, on the device, what it is told.

For each line of JSON that it reads, {"measure": NAME, "arguments": {...}}, it
prints lines of JSON with what it has found so far; the last has `end`, and
`error` if the measurement failed. It ends with the process that started it:
nothing is left that would take the card from what comes next.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any


def _measurements() -> dict[str, Any]:
  """Name -> function (conditions, **arguments) that yields dicts of values."""
  from benchmarks.gpu import card
  from benchmarks.gpu.measuring import (
    codebooks,
    pytorch,
    questions,
    single,
    steps,
  )

  return {
    "about": card.about,
    "peaks": single.peaks,
    "layer": single.layer,
    "question": questions.measure,
    "step": steps.measure,
    "trace": steps.trace,
    "losses": steps.losses,
    "pytorch": pytorch.measure,
    "reconstruction": pytorch.reconstruction,
    "kmeans": codebooks.measure,
  }


def main(text: str) -> None:
  # 1 is PR_SET_PDEATHSIG.
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
  # Libraries may print; lines of JSON alone go to who started this.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  from benchmarks.gpu import conditions
  from benchmarks.gpu.measuring import compiling

  given = conditions.from_json(text)
  compiling.keep_in(os.path.join(given.cache, "programs"))
  measurements = _measurements()
  for line in sys.stdin:
    asked = json.loads(line)
    run = measurements[asked["measure"]]
    for values in _guarded(run(given, **asked["arguments"])):
      print(json.dumps(values), file=answers, flush=True)


def _guarded(values: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Yields the values, then that they end, and of an error its first line."""
  try:
    yield from values
  except Exception as error:
    lines = [*str(error).strip().splitlines(), ""]
    yield {"end": True, "error": f"{type(error).__name__}: {lines[0]}"[:400]}
  else:
    yield {"end": True}


if __name__ == "__main__":
  main(sys.argv[1])
