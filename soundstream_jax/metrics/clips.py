"""One clip's value by a metric, or the reason why it has none.

A number that means nothing is worse than none: ViSQOL gives a silent reference
its best score, whatever the output; STOI gives 1e-5 to what is too short. Such
clips, and whatever a metric's package raises, are missing values with a reason.
"""

import numpy as np

from soundstream_jax import console
from soundstream_jax.audio import resampling
from soundstream_jax.metrics import metric as metric_lib

# -60 dBFS, as held-out clips have it: a reference below is silent. Of its root
# mean square, its mean apart.
SILENT_RMS = 1e-3
# How far rounding may carry a value beyond its range.
_ROUNDING = 1e-4


def measure(
  metric: metric_lib.Metric,
  reference: np.ndarray,
  output: np.ndarray,
  *,
  sample_rate_hz: int,
) -> tuple[float | None, str]:
  """Returns (value, '') of a clip, or (None, why there is none).

  Args:
    metric: one of the table, or a user's own.
    reference: [T], whole or cut, never padded.
    output: [T], aligned with it.
    sample_rate_hz: of both.

  Raises:
    ValueError: the two are not of one shape [T].
  """
  reference, output = np.asarray(reference), np.asarray(output)
  if reference.shape != output.shape or reference.ndim != 1:
    raise ValueError(
      f"reference {reference.shape} and output {output.shape} must have one "
      "shape [T]"
    )
  if why := metric.missing() or _unfit(reference, output):
    return None, why
  try:
    # What a package divides by zero shows in its value.
    with np.errstate(all="ignore"):
      (value,) = metric.measure(
        reference[None, :, None],
        output[None, :, None],
        sample_rate_hz=sample_rate_hz,
      )
      value = float(value)
  except metric_lib.NoValue as error:
    return None, console.line(error)
  except Exception as error:
    return None, console.line(f"{type(error).__name__}: {error}")
  if not np.isfinite(value):
    return None, f"{metric.title} is {value}"
  if not metric.low - _ROUNDING <= value <= metric.high + _ROUNDING:
    return None, (
      f"{metric.title} is {value:g}, which is outside of {metric.low:g} to "
      f"{metric.high:g}"
    )
  return min(max(value, metric.low), metric.high), ""


def each(
  score, reference: np.ndarray, output: np.ndarray, *, rate_hz, sample_rate_hz
) -> np.ndarray:
  """Returns score(reference [M], output [M]) of each clip [B], float64.

  The clips are brought to the score's own rate. Where T * rate_hz is no
  multiple of sample_rate_hz the last sample, which would reach beyond the end
  of the clip, is left out: nothing is padded.

  Args:
    score: of two clips float32 [M]; raises NoValue where there is none.
    reference: [B, T, 1].
    output: [B, T, 1].
    rate_hz: that the score wants.
    sample_rate_hz: of the clips.

  Raises:
    ValueError: the shapes differ or are not [B, T, 1].
  """
  reference, output = np.asarray(reference), np.asarray(output)
  if reference.shape != output.shape or reference.shape[2:] != (1,):
    raise ValueError(
      f"reference {reference.shape} and output {output.shape} must have one "
      "shape [B, T, 1]"
    )
  samples = reference.shape[1] * rate_hz // sample_rate_hz

  def at_rate(clip):
    return resampling.resample(clip, sample_rate_hz, rate_hz)[:samples, 0]

  return np.array(
    [
      score(at_rate(one), at_rate(other))
      for one, other in zip(reference, output, strict=True)
    ],
    np.float64,
  )


def _unfit(reference: np.ndarray, output: np.ndarray) -> str:
  """Returns why a pair [T] cannot be compared by any metric; '' if it can."""
  if not len(reference):
    return "the clip is empty"
  for name, audio in (("reference", reference), ("output", output)):
    if not np.all(np.isfinite(audio)):
      return f"the {name} is not finite"
  if np.std(reference, dtype=np.float64) < SILENT_RMS:
    return "the reference is silent"
  return ""
