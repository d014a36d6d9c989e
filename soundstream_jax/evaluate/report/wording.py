"""How numbers and names of systems are written on the page."""

import math

from soundstream_jax.evaluate.report import evaluation

ABSENT = "–"
_STAYS = "\N{NO-BREAK SPACE}"
FAMILIES = {
  "opus": "Opus",
  "opus_wideband": "Opus, wideband forced",
  "opus_nolace": "Opus with NoLACE",
  "low_pass": "Low-pass",
}


def number(value: float | None, decimals: int) -> str:
  """Returns a number with a true minus sign; a missing one is a dash."""
  if value is None or not math.isfinite(value):
    return ABSENT
  written = f"{value:.{decimals}f}"
  if float(written) == 0:
    written = written.lstrip("-")
  return written.replace("-", "−")


def signed(value: float | None, decimals: int) -> str:
  """Returns a difference, with its sign."""
  written = number(value, decimals)
  return f"+{written}" if value is not None and value > 0 else written


def kbps(value_bps: float | None) -> str:
  """Returns a bitrate without its unit, in kbit/s."""
  return ABSENT if value_bps is None else f"{value_bps / 1000:.3g}"


def interval(score: evaluation.Score | None, decimals: int) -> str:
  """Returns 'mean [low, high]'."""
  if score is None or score.mean is None:
    return ABSENT
  written = number(score.mean, decimals)
  if score.low is None or score.high is None:
    return written
  low, high = (number(v, decimals) for v in (score.low, score.high))
  return f"{written} [{low},{_STAYS}{high}]"


def count(number: int, word: str) -> str:
  """Returns '1 clip', '2 clips'."""
  return f"{number} {word}" + ("" if number == 1 else "s")


def and_list(words: list[str]) -> str:
  """Returns 'a, b and c'."""
  if len(words) < 2:
    return "".join(words)
  return f"{', '.join(words[:-1])} and {words[-1]}"


def millions(parameters: float) -> str:
  """Returns a number of parameters, as 8.4 M or 412 k."""
  if parameters >= 999_500:
    return f"{parameters / 1e6:.1f} M"
  return f"{parameters / 1e3:.0f} k"
