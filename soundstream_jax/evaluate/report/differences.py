"""Differences between systems on the same clips, with their intervals."""

import numpy as np

from soundstream_jax.evaluate.report import evaluation

Ref = tuple[evaluation.Evaluation, evaluation.System]


def of(a: Ref, b: Ref, metric: str, kind: str) -> evaluation.Score | None:
  """Returns a - b of a metric over the clips of a class that both have.

  What the evaluation has written is taken; of systems that were evaluated
  apart it is computed from the measurements of their clips.

  Args:
    a: an evaluation and one of its systems.
    b: another of a group's.
    metric: its name.
    kind: the class.

  Returns:
    None where there is nothing to compare.
  """
  (one, first), (other, second) = a, b
  if one is other:
    written = one.paired.get((first.key, second.key, metric, kind))
    if written is not None and written.mean is not None:
      return written
  ours = one.measured.get((first.key, metric), {})
  theirs = other.measured.get((second.key, metric), {})
  classes = dict(zip(one.clip_names, one.clip_classes, strict=False))
  values = [
    ours[clip] - theirs[clip]
    for clip in ours
    if clip in theirs and kind in (evaluation.ALL, classes.get(clip))
  ]
  return _interval(values) if values else None


def _interval(values: list[float]) -> evaluation.Score:
  from scipy import stats

  mean, count = float(np.mean(values)), len(values)
  if count < 2:
    return evaluation.Score(mean, None, None, count)
  half = float(
    stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5
  )
  return evaluation.Score(mean, mean - half, mean + half, count)


def told_apart(difference: evaluation.Score | None) -> bool:
  """Whether an interval leaves out zero."""
  return (
    difference is not None
    and difference.low is not None
    and difference.high is not None
    and (difference.low > 0 or difference.high < 0)
  )
