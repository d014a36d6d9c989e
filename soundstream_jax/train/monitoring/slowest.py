"""Who holds a job up: told from what its processes say of themselves."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

# Processes that a line names; of more it says how many.
_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Report:
  """What a process was doing when the job stood still."""

  host: str
  process: int
  phase: str  # "data", "step", or anything else
  step: int  # that it was at
  seconds: float  # in the phase so far

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> Report:
  return Report(**json.loads(text))


def name(
  reports: Sequence[Report], *, hosts: Mapping[int, str], count: int
) -> str:
  """Says who is slowest.

  Those that say nothing come first: they are stopped or dead. Then those that
  do something else while others wait for a step, which is one computation of
  all of them, and then those with the lowest step.

  Args:
    reports: of those processes that have answered.
    hosts: names of the hosts, by process.
    count: of all processes.
  """
  answered = {report.process: report for report in reports}
  silent = [process for process in range(count) if process not in answered]
  if silent:
    places = [(p, hosts.get(p, "an unknown host")) for p in silent]
    verb = "is" if len(silent) == 1 else "are"
    return f"{_who(places)} {verb} silent: stopped, dead or cut off"
  waiting = [r for r in reports if r.phase == "step"]
  others = [r for r in reports if r.phase != "step"]
  if others:
    worst = max(others, key=lambda report: report.seconds)
    phase = {"data": "waiting for data", "": "neither in data nor in a step"}
    return (
      f"{_who([(r.process, r.host) for r in others])}: "
      f"{phase.get(worst.phase, worst.phase)} at step {worst.step} for "
      f"{worst.seconds:.0f} s"
    )
  lowest = min(report.step for report in waiting)
  behind = [r for r in waiting if r.step == lowest]
  if len(behind) < len(waiting):
    highest = max(report.step for report in waiting)
    return (
      f"{_who([(r.process, r.host) for r in behind])}: at step {lowest}, "
      f"others at step {highest}"
    )
  who = _who([(r.process, r.host) for r in behind])
  if count > 1:
    who = f"all {count} processes"
  return f"{who}: waiting for step {lowest}, whose computation does not end"


def _who(places: Sequence[tuple[int, str]]) -> str:
  """Lists (process, host)."""
  listed = ", ".join(f"{p} on {host}" for p, host in places[:_NAMED])
  more = len(places) - _NAMED
  return (
    f"process{'es' if len(places) > 1 else ''} {listed}"
    f"{f' and {more} more' if more > 0 else ''}"
  )
