"""Differences between systems on the same clips, with their intervals."""

from soundstream_jax.evaluate.report import evaluation
from soundstream_jax.metrics import statistics

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
  shared = [
    clip
    for clip in ours
    if clip in theirs and kind in (evaluation.ALL, classes.get(clip))
  ]
  if not shared:
    return None
  found = statistics.paired(
    [ours[clip] for clip in shared], [theirs[clip] for clip in shared]
  )
  low, high = map(evaluation.finite, (found.low, found.high))
  return evaluation.Score(found.mean, low, high, found.count)


def told_apart(difference: evaluation.Score | None) -> bool:
  """Whether an interval leaves out zero."""
  return (
    difference is not None
    and difference.low is not None
    and difference.high is not None
    and (difference.low > 0 or difference.high < 0)
  )
