"""Metrics of a reconstruction: the one table that everything measures by.

Training's validation, evaluation, its reports and its pictures read METRICS. A
new metric is a module with its function, and one entry here.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from soundstream_jax.metrics import log_mel, si_sdr


@dataclasses.dataclass(frozen=True)
class Metric:
  """A number for each clip, of a reference and an output.

  Attributes:
    measure: (reference [B, T, 1], output [B, T, 1], *, sample_rate_hz) -> [B].
    title: in the log and above curves.
    column: above a column of a table.
    unit: behind a number in the log; may be empty.
    decimals: in tables and in the log.
    higher_is_better: else lower is.
  """

  measure: Callable[..., np.ndarray]
  title: str
  column: str
  unit: str = ""
  decimals: int = 2
  higher_is_better: bool = False

  def text(self, value: float) -> str:
    return f"{self.title} {value:.{self.decimals}f} {self.unit}".rstrip()


# The name is part of keys on disk: "eval/NAME" in metrics.jsonl and TensorBoard,
# NAME in evaluation.json.
METRICS = {
  "log_mel": Metric(
    log_mel.distance, "log-mel distance", column="log-mel", decimals=3
  ),
  "si_sdr_db": Metric(
    si_sdr.ratio_db, "SI-SDR", "SI-SDR dB", unit="dB", higher_is_better=True
  ),
}

# Evaluation's criteria and controls are about this one.
CRITERION = "log_mel"


def measure(
  reference: np.ndarray, output: np.ndarray, *, sample_rate_hz: int
) -> dict[str, np.ndarray]:
  """Returns name -> value of each clip [B], for every metric of the table.

  Args:
    reference: [B, T, 1].
    output: [B, T, 1].
    sample_rate_hz: of both.

  Raises:
    ValueError: the shapes differ or are not [B, T, 1].
  """
  return {
    name: metric.measure(reference, output, sample_rate_hz=sample_rate_hz)
    for name, metric in METRICS.items()
  }
