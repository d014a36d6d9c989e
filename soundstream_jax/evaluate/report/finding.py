"""The main result of a page in a sentence, computed from its numbers."""

import dataclasses
import math

from soundstream_jax.evaluate.report import (
  differences,
  evaluation,
  gathering,
  rates,
  wording,
)

# What is said first is said by the first of these that both sides have. What
# follows is in the order in which evaluations list it.
_FIRST = ("visqol_audio", "zimtohrli", "visqol_speech", "pesq")
# What a model is held against, if it is there.
_BARS = ("opus", "opus_wideband", "opus_nolace")


@dataclasses.dataclass(frozen=True)
class Finding:
  """A sentence, and what has to be known beside it."""

  sentence: str
  beside: str


def metric_order(group: gathering.Group) -> list[evaluation.Measure]:
  """Returns the metrics that have values, the most telling first."""
  found = [
    measure
    for name, measure in group.metrics.items()
    if any(
      score.mean is not None
      for each in group.evaluations
      for system in each.systems
      for (metric, _), score in system.scores.items()
      if metric == name
    )
  ]
  first = [m for name in _FIRST for m in found if m.name == name]
  return first + [m for m in found if m not in first]


def nearest(
  group: gathering.Group, ref: differences.Ref, family: str
) -> differences.Ref | None:
  """Returns the system of a family whose bitrate is nearest to another's."""
  rate = ref[1].payload_bps
  there = [o for o in group.others if o[1].system == family]
  there = [other for other in there if other[1].payload_bps]
  if not rate or not there:
    return None
  return min(there, key=lambda o: abs(math.log(o[1].payload_bps / rate)))


def of(group: gathering.Group) -> Finding:
  """Returns what a group shows about its model, or its first one."""
  pair = _pair(group)
  if pair is None:
    return _alone(group)
  ours, bar = pair
  both = [
    measure
    for measure in metric_order(group)
    if _score(ours, measure) and _score(bar, measure)
  ]
  if not both:
    return _alone(group)
  first = both[0]
  mine, theirs = _score(ours, first), _score(bar, first)
  difference = differences.of(ours, bar, first.name, evaluation.ALL)
  sentence = (
    f"At {rates.named_rate(ours[1])} kbit/s, "
    f"{rates.model_name(group, ours[0])} has a {first.title} of "
    f"{_valued(mine, first)} against {_valued(theirs, first)} for "
    f"{bar[1].label} on {wording.count(mine.count, 'clip')}"
    f"{_verdict(first, difference)}."
  )
  return Finding(sentence, _beside(ours, bar, both))


def _pair(group: gathering.Group):
  """Returns the bitrate of a model that is nearest to a bar's, and that bar."""
  families = [*_BARS, *(s.system for _, s in group.others if s.payload_bps)]
  for family in families:
    pairs = [
      (model, bar)
      for model in group.models
      if (bar := nearest(group, model, family)) is not None
    ]
    if pairs:
      return min(
        pairs,
        key=lambda p: abs(math.log(p[0][1].payload_bps / p[1][1].payload_bps)),
      )
  return None


def _alone(group: gathering.Group) -> Finding:
  """Returns what is known of a model, or of a system, without another."""
  order = metric_order(group)
  refs = sorted(
    group.models or group.others, key=lambda r: -(r[1].payload_bps or 0.0)
  )
  for measure in order:
    for ref in refs:
      score = _score(ref, measure)
      if score is not None:
        return Finding(
          f"{rates.system_name(group, ref)}: {measure.title} is "
          f"{_valued(score, measure)} on "
          f"{wording.count(score.count, 'clip')}.",
          "No other system was measured on these clips."
          if group.models and not group.others
          else "",
        )
  return Finding("Nothing was measured on clips yet.", "")


def _verdict(measure, difference) -> str:
  if difference is None or difference.mean is None:
    return ""
  if not differences.told_apart(difference):
    return ", which the clips do not tell apart"
  better = measure.gain(difference.mean) > 0
  amount = wording.number(abs(difference.mean), measure.decimals)
  ends = sorted((abs(difference.low), abs(difference.high)))
  low, high = (wording.number(end, measure.decimals) for end in ends)
  unit = f" {measure.unit}" if measure.unit else ""
  return (
    f": {'better' if better else 'worse'} by {amount}{unit} "
    f"[{low},\N{NO-BREAK SPACE}{high}]"
  )


def _valued(score: evaluation.Score, measure: evaluation.Measure) -> str:
  unit = f" {measure.unit}" if measure.unit else ""
  return wording.interval(score, measure.decimals) + unit


def _beside(ours, bar, both) -> str:
  """Says what the other metrics make of the same pair."""
  better, worse, open_ = [], [], []
  for measure in both:
    found = differences.of(ours, bar, measure.name, evaluation.ALL)
    if not differences.told_apart(found):
      open_.append(measure.title)
    elif measure.gain(found.mean) > 0:
      better.append(measure.title)
    else:
      worse.append(measure.title)
  parts = [
    f"{label} by {wording.and_list(names)}"
    for label, names in (
      ("better", better),
      ("worse", worse),
      ("not told apart", open_),
    )
    if names
  ]
  return (
    f"Against {bar[1].label}, clip by clip and with 95 % intervals of the "
    f"paired differences, it is {'; '.join(parts)}."
  )


def _score(ref, measure) -> evaluation.Score | None:
  score = ref[1].scores.get((measure.name, evaluation.ALL))
  return score if score is not None and score.mean is not None else None
