"""An evaluation as text and as JSON, with the four criteria of a live model."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from soundstream_jax.evaluate import evaluator


def to_dict(
  result: evaluator.Evaluation, early_log_mel: float | None
) -> dict[str, Any]:
  """Returns plain JSON values.

  Args:
    result: of `evaluator.evaluate`.
    early_log_mel: log-mel distance near the start of training; None unknown.
  """
  best, least = result.rates[-1], result.rates[0]
  final = _mean(best.log_mel)
  noise, swapped = _mean(result.noise_log_mel), _mean(result.swapped_log_mel)
  criteria = {
    "at most half of its value early in training": (
      None if early_log_mel is None else final <= 0.5 * early_log_mel
    ),
    "below stationary noise with the training spectrum": final < noise,
    "at least 1.3x worse with swapped codes": swapped >= 1.3 * final,
    "better at the higher bitrate": (
      None if least is best else final < _mean(least.log_mel)
    ),
  }
  names = [result.clips.source_names[i] for i in result.clips.source_index]
  return {
    "step": result.step,
    "weights": result.weights,
    "clips": len(result.clips.group),
    "rates": [
      {
        "bitrate_bps": rate.bitrate_bps,
        "num_quantizers": rate.num_quantizers,
        "log_mel": _mean(rate.log_mel),
        "si_sdr_db": _mean(rate.si_sdr_db),
        "log_mel_by_source": _by(names, rate.log_mel),
        "si_sdr_db_by_source": _by(names, rate.si_sdr_db),
      }
      for rate in result.rates
    ],
    "early_log_mel": early_log_mel,
    "noise_log_mel": noise,
    "swapped_log_mel": swapped,
    "perplexity": [round(float(p), 2) for p in result.perplexity],
    "dead_fraction": [round(float(d), 4) for d in result.dead_fraction],
    "criteria": criteria,
  }


def to_text(values: Mapping[str, Any]) -> str:
  """Returns the table that the command prints, from `to_dict`."""
  lines = [
    f"step {values['step']} ({values['weights']} weights), "
    f"{values['clips']} held-out clips",
    "",
    "  bitrate  layers  log-mel  SI-SDR dB",
  ]
  for rate in values["rates"]:
    lines.append(
      f"{rate['bitrate_bps']:9.0f}{rate['num_quantizers']:8d}"
      f"{rate['log_mel']:9.3f}{rate['si_sdr_db']:11.2f}"
    )
  lines += ["", "  log-mel by source"]
  for name, value in values["rates"][-1]["log_mel_by_source"].items():
    lines.append(f"  {value:7.3f}  {name}")
  perplexity = " ".join(f"{p:.0f}" for p in values["perplexity"])
  early = values["early_log_mel"]
  best = values["rates"][-1]["log_mel"]
  lines += [
    "",
    f"  codebook perplexity per layer: {perplexity}",
    "",
    "  early in training   "
    + ("unknown" if early is None else f"{early:.3f}  ({best / early:.2f}x)"),
    f"  stationary noise    {values['noise_log_mel']:.3f}",
    f"  codes swapped       {values['swapped_log_mel']:.3f}"
    f"  ({values['swapped_log_mel'] / best:.2f}x)",
    "",
  ]
  marks = {True: "yes", False: "NO", None: "not measured"}
  for name, passed in values["criteria"].items():
    lines.append(f"  {marks[passed]:>12}  {name}")
  return "\n".join(lines)


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values))


def _by(names: Iterable[str], values: np.ndarray) -> dict[str, float]:
  names = np.asarray(list(names))
  return {
    str(name): _mean(values[names == name]) for name in dict.fromkeys(names)
  }
