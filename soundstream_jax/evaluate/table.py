"""An evaluation as text, with the four criteria of a live model."""

import collections
from collections.abc import Iterator, Mapping
from typing import Any

from soundstream_jax import console, metrics
from soundstream_jax.evaluate import evaluator, summary

_MARKS = {True: "yes", False: "NO", None: "not measured"}
# Reasons for missing values that are printed.
_MOST_REASONS = 8


def to_text(values: Mapping[str, Any]) -> str:
  """Returns the table that the command prints.

  Args:
    values: of `summary.to_dict` and `summary.criteria`.
  """
  columns = values["metrics"]
  held_out = values["clip_set"]["origin"]
  lines = [
    f"step {values['step']} ({values['weights']} weights), "
    f"{values['clips']} clips of {console.shown(held_out)}",
    "",
  ]
  if values["rates"]:
    lines.append(
      "  bitrate  layers"
      + "".join(f"  {m['column']}" for m in columns.values())
    )
  for rate in values["rates"]:
    lines.append(
      f"{rate['bitrate_bps']:9.0f}{rate['num_quantizers']:8d}"
      + "".join(_cell(rate[name], m) for name, m in columns.items())
    )
  if any(system["layers"] is None for system in values["systems"]):
    lines += _compared(values)
  if values["rates"] and metrics.CRITERION in columns:
    lines += _criteria(values)
  return "\n".join(lines)


def missing_values(result: evaluator.Evaluation) -> Iterator[str]:
  """Yields a line for each reason why values are missing, the commonest first."""
  reasons = collections.Counter()
  example = {}
  for line in result.lines.values():
    for name, why in line.missing.items():
      reasons[name, why] += 1
      example.setdefault((name, why), f"{line.key} of {line.clip}")
  for (name, why), count in reasons.most_common(_MOST_REASONS):
    of = f"{count} values" if count > 1 else "a value"
    title = result.metrics[name].title
    yield (
      f"missing: {of} of {title} ({example[name, why]}"
      f"{' and others' if count > 1 else ''}): {why}"
    )
  if len(reasons) > _MOST_REASONS:
    rest = sum(reasons.values()) - sum(
      count for _, count in reasons.most_common(_MOST_REASONS)
    )
    yield f"missing: {rest} values for other reasons"


def versions(result: evaluator.Evaluation) -> Iterator[str]:
  """Yields a line for each version of baselines, and one for metrics."""
  found = {}
  for system in result.systems[len(result.depths) :]:
    found.setdefault(system.version, []).append(system.name)
  if found:
    yield ""
  for version, names in found.items():
    yield f"  {', '.join(dict.fromkeys(names))}: {version}"
  packages = {m.version() for m in result.metrics.values() if m.package}
  if packages:
    yield f"  metrics: {', '.join(sorted(packages))}"


def _compared(values: Mapping[str, Any]) -> list[str]:
  """Returns the table of all systems, with true bitrates."""
  columns = values["metrics"]
  width = max(len(system["label"]) for system in values["systems"])
  lines = [
    "",
    f"  {'':<{width}}  bit/s  coded"
    + "".join(f"  {m['column']}" for m in columns.values()),
  ]
  for system in values["systems"]:
    line = f"  {system['label']:<{width}}"
    for field in ("payload_bps", "entropy_bps"):
      rate = system[field]
      line += f"{'-':>7}" if rate is None else f"{rate:7.0f}"
    for name, metric in columns.items():
      found = system["metrics"][name].get(summary.ALL, {"mean": None})
      line += _cell(found["mean"], metric)
    lines.append(line)
  return lines


def _criteria(values: Mapping[str, Any]) -> list[str]:
  name = metrics.CRITERION
  best = values["rates"][-1][name]
  lines = ["", f"  {metrics.METRICS[name].column} by source"]
  for source, value in values["rates"][-1][f"{name}_by_source"].items():
    lines.append(f"{_number(value):>9}  {console.shown(source)}")
  perplexity = " ".join(f"{p:.0f}" for p in values["perplexity"])
  highest = values["systems"][len(values["rates"]) - 1]
  coded = highest["entropy_bps"]
  lines += [
    "",
    f"  codebook perplexity per layer: {perplexity}",
    f"  packed {highest['payload_bps']:.0f} bit/s"
    + ("" if coded is None else f", entropy coded {coded:.0f} bit/s"),
    "",
  ]
  for title, control in (
    ("early in training", "early"),
    ("stationary noise", "noise"),
    ("codes swapped", "swapped"),
  ):
    value = values[f"{control}_{name}"]
    compared = ""
    if value and best:
      ratio = best / value if control == "early" else value / best
      compared = "" if control == "noise" else f"  ({ratio:.2f}x)"
    lines.append(f"  {title:<20}{_number(value)}{compared}")
  lines.append("")
  for criterion, passed in values["criteria"].items():
    lines.append(f"  {_MARKS[passed]:>12}  {criterion}")
  return lines


def _cell(value: float | None, metric: Mapping[str, Any]) -> str:
  width = len(metric["column"]) + 2
  text = "-" if value is None else f"{value:.{metric['decimals']}f}"
  return f"{text:>{max(width, len(text) + 2)}}"


def _number(value: float | None) -> str:
  return "unknown" if value is None else f"{value:.3f}"
