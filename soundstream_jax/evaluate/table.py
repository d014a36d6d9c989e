"""An evaluation as text and as JSON, with the four criteria of a live model."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from soundstream_jax import console, metrics
from soundstream_jax.evaluate import evaluator


def to_dict(
  result: evaluator.Evaluation, early: float | None
) -> dict[str, Any]:
  """Returns plain JSON values.

  Args:
    result: of `evaluator.evaluate`.
    early: the criterion's metric near the start of training; None unknown.
  """
  name = metrics.CRITERION
  best, least = result.rates[-1], result.rates[0]
  final = _mean(best.measured[name])
  noise, swapped = _mean(result.noise), _mean(result.swapped)
  criteria = {
    "at most half of its value early in training": (
      None if early is None else final <= 0.5 * early
    ),
    "below stationary noise with the training spectrum": final < noise,
    "at least 1.3x worse with swapped codes": swapped >= 1.3 * final,
    "better at the higher bitrate": (
      None if least is best else final < _mean(least.measured[name])
    ),
  }
  sources = [result.clips.source_names[i] for i in result.clips.source_index]
  return {
    "step": result.step,
    "weights": result.weights,
    "clips": len(result.clips.group),
    "rates": [
      {
        "bitrate_bps": rate.bitrate_bps,
        "num_quantizers": rate.num_quantizers,
        **{key: _mean(each) for key, each in rate.measured.items()},
        **{
          f"{key}_by_source": _by(sources, each)
          for key, each in rate.measured.items()
        },
      }
      for rate in result.rates
    ],
    f"early_{name}": early,
    f"noise_{name}": noise,
    f"swapped_{name}": swapped,
    "perplexity": [round(float(p), 2) for p in result.perplexity],
    "dead_fraction": [round(float(d), 4) for d in result.dead_fraction],
    "criteria": criteria,
  }


def to_text(values: Mapping[str, Any]) -> str:
  """Returns the table that the command prints, from `to_dict`."""
  columns = metrics.while_training().values()
  lines = [
    f"step {values['step']} ({values['weights']} weights), "
    f"{values['clips']} held-out clips",
    "",
    "  bitrate  layers" + "".join(f"  {metric.column}" for metric in columns),
  ]
  for rate in values["rates"]:
    lines.append(
      f"{rate['bitrate_bps']:9.0f}{rate['num_quantizers']:8d}"
      + "".join(
        f"{rate[name]:{len(metric.column) + 2}.{metric.decimals}f}"
        for name, metric in metrics.while_training().items()
      )
    )
  criterion = metrics.CRITERION
  lines += ["", f"  {metrics.METRICS[criterion].column} by source"]
  for source, value in values["rates"][-1][f"{criterion}_by_source"].items():
    lines.append(f"  {value:7.3f}  {console.shown(source)}")
  perplexity = " ".join(f"{p:.0f}" for p in values["perplexity"])
  early, noise, swapped = (
    values[f"{control}_{criterion}"]
    for control in ("early", "noise", "swapped")
  )
  best = values["rates"][-1][criterion]
  lines += [
    "",
    f"  codebook perplexity per layer: {perplexity}",
    "",
    "  early in training   "
    + ("unknown" if early is None else f"{early:.3f}  ({best / early:.2f}x)"),
    f"  stationary noise    {noise:.3f}",
    f"  codes swapped       {swapped:.3f}  ({swapped / best:.2f}x)",
    "",
  ]
  marks = {True: "yes", False: "NO", None: "not measured"}
  for name, passed in values["criteria"].items():
    lines.append(f"  {marks[passed]:>12}  {name}")
  return "\n".join(lines)


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values))


def _by(sources: Iterable[str], values: np.ndarray) -> dict[str, float]:
  sources = np.asarray(list(sources))
  return {
    str(source): _mean(values[sources == source])
    for source in dict.fromkeys(sources)
  }
