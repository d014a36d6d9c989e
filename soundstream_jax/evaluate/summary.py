"""An evaluation as JSON and as a tidy table: means, intervals, differences."""

import csv
import io
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import metrics
from soundstream_jax.evaluate import evaluator
from soundstream_jax.metrics import codebook_use, statistics

VERSION = 1
ALL = "all"
COLUMNS = (
  *("key", "system", "setting", "bitrate_bps", "payload_bps", "entropy_bps"),
  *("clip", "class", "metric", "value"),
)


def to_dict(
  result: evaluator.Evaluation,
  *,
  name: str,
  missing_metrics: Mapping[str, str],
  missing_systems: Mapping[str, str],
) -> dict[str, Any]:
  """Returns plain JSON values; what is not finite is null.

  Args:
    result: of `evaluator.evaluate`.
    name: of the model.
    missing_metrics: name -> why it was not measured.
    missing_systems: likewise.
  """
  codec, clips = result.model.codec, result.clips
  return {
    "version": VERSION,
    "model": {
      "name": name,
      "fingerprint": codec.fingerprint.hex(),
      "step": codec.step,
      "weights": codec.weights,
      "parameters": result.model.num_parameters,
      "sample_rate_hz": codec.sample_rate,
      "entropy_tables": result.model.entropy_tables,
      "config": config_lib.to_dict(codec.config),
    },
    "metrics": {
      metric_name: {
        "title": metric.title,
        "column": metric.column,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "decimals": metric.decimals,
        "low": _finite(metric.low),
        "high": _finite(metric.high),
        "classes": list(metric.classes),
        "version": metric.version(),
      }
      for metric_name, metric in result.metrics.items()
    },
    "missing_metrics": dict(missing_metrics),
    "clip_set": {
      "origin": clips.origin,
      "names": [clip.name for clip in clips.clips],
      "classes": [clip.kind for clip in clips.clips],
      "seconds": clips.seconds,
      "digest": clips.digest,
      "left_out": list(clips.left_out),
    },
    "systems": [_system(result, i) for i in range(len(result.systems))],
    "missing_systems": dict(missing_systems),
    "paired": _all_paired(result),
    "codebooks": _codebooks(result),
  }


def to_csv(result: evaluator.Evaluation) -> str:
  """Returns a line for each system, clip and metric, under COLUMNS."""
  file = io.StringIO()
  writer = csv.writer(file, lineterminator="\n")
  writer.writerow(COLUMNS)
  for system in result.systems:
    for clip in result.clips.clips:
      line = result.lines[system.key, clip.name]
      for name, value in line.values.items():
        writer.writerow(
          [
            *(system.key, system.name, system.setting),
            _text(system.bitrate_bps),
            _text(_rate(line.payload_bits, line.seconds)),
            _text(_rate(line.entropy_bits, line.seconds)),
            *(clip.name, clip.kind, name, _text(value)),
          ]
        )
  return file.getvalue()


def _system(result: evaluator.Evaluation, index: int) -> dict[str, Any]:
  system = result.systems[index]
  lines = [result.lines[system.key, clip.name] for clip in result.clips.clips]
  depths = list(result.depths)
  return {
    "key": system.key,
    "system": system.name,
    "setting": system.setting,
    "label": system.label,
    "bitrate_bps": system.bitrate_bps,
    "layers": depths[index] if index < len(depths) else None,
    "payload_bps": _mean_rate(lines, "payload_bits"),
    "entropy_bps": _mean_rate(lines, "entropy_bits"),
    "version": system.version,
    "metrics": {
      name: {
        kind: _interval(
          statistics.interval(result.values(system.key, name)[chosen])
        )
        for kind, chosen in _classes(result, name).items()
      }
      for name in result.metrics
    },
  }


def _all_paired(result: evaluator.Evaluation) -> list[dict[str, Any]]:
  """Compares each bitrate of the model with each baseline and the one below."""
  count = len(result.depths)
  own, others = result.systems[:count], result.systems[count:]
  pairs = [(a, b) for a in own for b in others]
  pairs += [(above, below) for below, above in itertools.pairwise(own)]
  found = []
  for a, b in pairs:
    for name in result.metrics:
      for kind, chosen in _classes(result, name).items():
        difference = statistics.paired(
          result.values(a.key, name)[chosen], result.values(b.key, name)[chosen]
        )
        entry = {"a": a.key, "b": b.key, "metric": name, "class": kind}
        entry |= _interval(difference)
        del entry["missing"]
        found.append(entry)
  return found


def _classes(result: evaluator.Evaluation, name: str) -> dict[str, np.ndarray]:
  """Returns class -> which clips [N] a metric is for, and ALL."""
  clips, metric = result.clips.clips, result.metrics[name]
  fit = np.array([metric.is_for(clip.kind) for clip in clips], bool)
  kinds = np.array([clip.kind for clip in clips])
  found = {ALL: fit} if fit.any() else {}
  for kind in dict.fromkeys(clip.kind for clip in clips):
    chosen = fit & (kinds == kind)
    if kind != ALL and chosen.any():
      found[kind] = chosen
  return found


def _codebooks(result: evaluator.Evaluation) -> list[dict[str, Any]]:
  counts = result.model.counts
  perplexity = np.asarray(codebook_use.perplexity(counts))
  dead = np.asarray(codebook_use.dead_fraction(counts, threshold=0))
  return [
    {
      "layer": layer,
      "perplexity": float(perplexity[layer]),
      "entropy_bits": float(np.log2(max(perplexity[layer], 1.0))),
      "dead_fraction": float(dead[layer]),
    }
    for layer in range(len(counts))
  ]


def criteria(
  result: evaluator.Evaluation, early: float | None
) -> dict[str, Any]:
  """Returns the means by bitrate, the controls and the four criteria.

  Args:
    result: of `evaluator.evaluate`.
    early: the criterion's metric near the start of training; None unknown.
  """
  name = metrics.CRITERION
  systems = result.systems[: len(result.depths)]

  def mean_of(key) -> float | None:
    values = result.values(key, name)
    if values is None or np.isnan(values).all():
      return None
    return float(np.nanmean(values))

  means = [mean_of(system.key) for system in systems]
  final = means[-1] if means else None
  noise, swapped = mean_of(evaluator.NOISE), mean_of(evaluator.SWAPPED)

  def holds(test, *needed):
    return None if None in (final, *needed) else bool(test())

  books = _codebooks(result)
  return {
    "step": result.model.codec.step,
    "weights": result.model.codec.weights,
    "clips": len(result.clips.clips),
    "rates": [
      _at_rate(result, system, depth)
      for system, depth in zip(systems, result.depths, strict=True)
    ],
    f"early_{name}": early,
    f"noise_{name}": noise,
    f"swapped_{name}": swapped,
    "perplexity": [round(book["perplexity"], 2) for book in books],
    "dead_fraction": [round(book["dead_fraction"], 4) for book in books],
    "criteria": {
      "at most half of its value early in training": holds(
        lambda: final <= 0.5 * early, early
      ),
      "below stationary noise with the training spectrum": holds(
        lambda: final < noise, noise
      ),
      "at least 1.3x worse with swapped codes": holds(
        lambda: swapped >= 1.3 * final, swapped
      ),
      "better at the higher bitrate": holds(
        lambda: final < means[0], means[0] if len(means) > 1 else None
      ),
    },
  }


def _at_rate(result, system, depth: int) -> dict[str, Any]:
  sources = [clip.source for clip in result.clips.clips]
  values = {name: result.values(system.key, name) for name in result.metrics}
  return {
    "bitrate_bps": system.bitrate_bps,
    "num_quantizers": depth,
    **{name: _mean(each) for name, each in values.items()},
    **{
      f"{name}_by_source": {
        source: _mean(each[np.array([s == source for s in sources])])
        for source in dict.fromkeys(sources)
      }
      for name, each in values.items()
    },
  }


def _mean(values: np.ndarray) -> float | None:
  found = values[~np.isnan(values)]
  return float(np.mean(found)) if len(found) else None


def _interval(found: statistics.Interval) -> dict[str, Any]:
  return {
    "mean": _finite(found.mean),
    "low": _finite(found.low),
    "high": _finite(found.high),
    "count": found.count,
    "missing": found.missing,
  }


def _mean_rate(lines, field: str) -> float | None:
  """Returns bits per second of all clips together; null if one has none."""
  found = [getattr(line, field) for line in lines]
  if None in found:
    return None
  return sum(found) / sum(line.seconds for line in lines)


def _rate(bits: int | None, seconds: float) -> float | None:
  return None if bits is None else bits / seconds


def _finite(value: float) -> float | None:
  return value if math.isfinite(value) else None


def _text(value: float | None) -> str:
  return "" if value is None else repr(value)
