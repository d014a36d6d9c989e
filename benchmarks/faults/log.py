"""What a job's lines say: steps, what was lost, who was named."""

import re
from collections.abc import Iterable, Mapping, Sequence

_ATTEMPT = re.compile(r"^\[launch\] started; process ids")
_COMPILED = re.compile(r": compiled in \d+ s")
_STEP = re.compile(r"\] step (\d+)/\d+ \|")
_TRACEBACK = "Traceback (most recent call last)"


def step_seconds(
  lines: Sequence[str], times: Sequence[float]
) -> dict[int, float]:
  """Returns what each step took when it was last computed."""
  return dict(_computed(lines, times))


def lost_seconds(
  jobs: Iterable[tuple[Sequence[str], Sequence[float]]],
  before: Mapping[int, float],
) -> float:
  """Returns the time of computed steps that were computed again.

  Args:
    jobs: (lines, times) of each, in order.
    before: seconds of the steps that were done before the first of them.
  """
  known, lost = dict(before), 0.0
  for lines, times in jobs:
    for step, seconds in _computed(lines, times):
      lost += known.get(step, 0.0)
      known[step] = seconds
  return lost


def on_after(
  lines: Sequence[str], times: Sequence[float], since: float
) -> float | None:
  """Returns when the first step after a moment was done; None if none was.

  In a later attempt than that of the moment, where there is one.
  """
  starts = [t for line, t in zip(lines, times, strict=False) if _is_start(line)]
  again = min((t for t in starts if t > since), default=since)
  return min(
    (
      time
      for line, time in zip(lines, times, strict=False)
      if time > again and _STEP.search(line)
    ),
    default=None,
  )


def attempts(lines: Iterable[str]) -> int:
  return sum(map(_is_start, lines))


def naming(lines: Iterable[str], pattern: str) -> str | None:
  """Returns the first line that matches, or None."""
  found = (line.strip() for line in lines if re.search(pattern, line))
  return next(found, None)


def traceback(lines: Iterable[str]) -> bool:
  return any(_TRACEBACK in line for line in lines)


def last_words(lines: Sequence[str]) -> str:
  """Returns the last error, or the last line that says something."""
  said = [line.strip() for line in lines if line.strip()]
  wrong = [line for line in said if re.search(r"\w*(?i:error)\b.*: ", line)]
  return next(reversed(wrong or said), "nothing")


def _computed(lines, times):
  """Yields (step, seconds) as steps are computed."""
  previous = None
  for line, time in zip(lines, times, strict=False):
    if _is_start(line):
      previous = None
    elif _COMPILED.search(line):
      previous = time
    elif found := _STEP.search(line):
      yield int(found[1]), 0.0 if previous is None else time - previous
      previous = time


def _is_start(line: str) -> bool:
  return bool(_ATTEMPT.search(line))
