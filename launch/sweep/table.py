"""Sweeps as text: the points before they run, and their states."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from soundstream_jax import console, rates
from soundstream_jax.launch.sweep import states as states_lib

# Of a note; a log has the whole line.
_NOTE = 160


def plan(rows: Sequence[dict[str, Any]]) -> str:
  """Returns the table of what is to be trained.

  Args:
    rows: points of sweep.json.
  """
  lines = [
    (
      "point",
      "hash",
      "bit/s",
      "layers x codes",
      "parameters",
      "steps",
      "M units/step",
      "predicted",
    )
  ]
  for row in rows:
    lines.append(
      (
        row["name"],
        row["hash"][:8],
        bitrate(row["bitrate_bps"]),
        f"{row['num_quantizers']} x {row['codebook_size']}",
        f"{row['parameters']:,}",
        str(row["num_steps"]),
        f"{row['units_per_step'] / 1e6:.0f}",
        time(row["predicted_seconds"]),
      )
    )
  return _aligned(lines)


def states(
  rows: Sequence[dict[str, Any]], states: Sequence[states_lib.State]
) -> str:
  """Returns the table of how far each point is."""
  lines = [("point", "state", "bit/s", "step", "left", "took", "log_mel", "")]
  for row, state in zip(rows, states, strict=True):
    left = state.seconds_left
    if state.name == states_lib.WAITING and not state.trained:
      left = row["predicted_seconds"]
    if state.name == states_lib.DONE:
      left = None
    lines.append(
      (
        row["name"],
        state.name,
        bitrate(row["bitrate_bps"]),
        f"{state.step}/{row['num_steps']}",
        "" if left is None else time(left),
        time(state.seconds) if state.seconds else "",
        "" if state.metric is None else f"{state.metric:.3f}",
        console.line(state.note)[:_NOTE],
      )
    )
  return _aligned(lines)


def bitrate(bps: float) -> str:
  return rates.describe_bps(Fraction(bps).limit_denominator(10_000))


def time(seconds: float) -> str:
  """Formats seconds as h:mm:ss."""
  hours, rest = divmod(round(seconds), 3600)
  return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return "\n".join(
    "  ".join(
      # The first two are words, the last may be long.
      cell.ljust(width) if i < 2 or i == len(line) - 1 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  )
