"""Metrics of a reconstruction: the one table that everything measures by.

Training's validation and the best checkpoint read those of METRICS that are
measured while training; evaluation, sweeps and reports read all that are
available here. A new metric is a module with its function, and one entry here.
"""

import functools
from collections.abc import Iterable, Mapping

import numpy as np

from soundstream_jax import errors
from soundstream_jax.metrics import (
  clips,
  log_mel,
  metric,
  multi_scale_mel,
  si_sdr,
)
from soundstream_jax.metrics.perceptual import pesq, stoi, visqol, zimtohrli

Metric = metric.Metric
NoValue = metric.NoValue

_SPEECH = ("speech", "noisy")

# The name is part of keys on disk: "eval/NAME" in metrics.jsonl and TensorBoard,
# NAME in evaluation.json.
METRICS = {
  "log_mel": Metric(
    log_mel.distance, "log-mel distance", column="log-mel", decimals=3, low=0.0
  ),
  "si_sdr_db": Metric(
    si_sdr.ratio_db,
    "SI-SDR",
    "SI-SDR dB",
    unit="dB",
    higher_is_better=True,
    low=-si_sdr.LIMIT_DB,
    high=si_sdr.LIMIT_DB,
  ),
  "multi_scale_mel": Metric(
    multi_scale_mel.distance,
    "multi-scale mel distance",
    "mel",
    decimals=3,
    low=0.0,
    while_training=False,
  ),
  "visqol_audio": Metric(
    functools.partial(clips.each, visqol.audio, rate_hz=visqol.AUDIO_RATE_HZ),
    "ViSQOL audio",
    "ViSQOL",
    higher_is_better=True,
    sample_rate_hz=visqol.AUDIO_RATE_HZ,
    low=1.0,
    high=5.0,
    package="visqol-python",
    modules=("visqol", "libsvm"),
    while_training=False,
  ),
  "visqol_speech": Metric(
    functools.partial(clips.each, visqol.speech, rate_hz=visqol.SPEECH_RATE_HZ),
    "ViSQOL speech",
    "ViSQOL speech",
    higher_is_better=True,
    sample_rate_hz=visqol.SPEECH_RATE_HZ,
    classes=_SPEECH,
    low=1.0,
    high=5.0,
    package="visqol-python",
    modules=("visqol", "ai_edge_litert"),
    while_training=False,
  ),
  "zimtohrli": Metric(
    functools.partial(clips.each, zimtohrli.score, rate_hz=zimtohrli.RATE_HZ),
    "Zimtohrli",
    "Zimtohrli",
    higher_is_better=True,
    sample_rate_hz=zimtohrli.RATE_HZ,
    low=1.0,
    high=5.0,
    package="zimtohrli",
    modules=("zimtohrli",),
    while_training=False,
  ),
  "pesq": Metric(
    functools.partial(clips.each, pesq.score, rate_hz=pesq.RATE_HZ),
    "PESQ",
    "PESQ",
    higher_is_better=True,
    sample_rate_hz=pesq.RATE_HZ,
    classes=_SPEECH,
    low=1.0,
    high=4.65,
    package="pesq",
    modules=("pesq",),
    while_training=False,
  ),
  "stoi": Metric(
    functools.partial(clips.each, stoi.score, rate_hz=stoi.RATE_HZ),
    "STOI",
    "STOI",
    decimals=3,
    higher_is_better=True,
    sample_rate_hz=stoi.RATE_HZ,
    classes=_SPEECH,
    low=-1.0,
    high=1.0,
    package="pystoi",
    modules=("pystoi",),
    while_training=False,
  ),
}

# Evaluation's criteria and controls are about this one.
CRITERION = "log_mel"


def while_training() -> dict[str, Metric]:
  """Returns those that validation measures and a best checkpoint may be of."""
  return {name: m for name, m in METRICS.items() if m.while_training}


def available() -> dict[str, Metric]:
  """Returns those of the table that can be measured here."""
  return {name: m for name, m in METRICS.items() if not m.missing()}


def missing() -> dict[str, str]:
  """Returns name -> why it cannot be measured here and the fix, in one line."""
  reasons = {name: m.missing() for name, m in METRICS.items()}
  return {name: why for name, why in reasons.items() if why}


def chosen(
  names: Iterable[str], table: Mapping[str, Metric] | None = None
) -> dict[str, Metric]:
  """Returns the entries of a table by name; None is METRICS.

  Raises:
    InputError: there is no such metric, with the nearest.
  """
  table = METRICS if table is None else table
  for name in (names := list(names)):
    if name not in table:
      raise errors.InputError(
        f"{name!r} is no metric.{errors.nearest(name, table)} Use one of "
        f"{', '.join(table)}."
      )
  return {name: table[name] for name in names}


def measure(
  reference: np.ndarray,
  output: np.ndarray,
  *,
  sample_rate_hz: int,
  names: Iterable[str] | None = None,
  table: Mapping[str, Metric] | None = None,
) -> dict[str, np.ndarray]:
  """Returns name -> value of each clip [B].

  Args:
    reference: [B, T, 1].
    output: [B, T, 1].
    sample_rate_hz: of both.
    names: None is those that are measured while training, each as its
      function has it; of others a clip without a value gets NaN.
    table: None is METRICS; else with a user's own.

  Raises:
    ValueError: the shapes differ or are not [B, T, 1].
    InputError: there is no such metric.
  """
  if names is None:
    return {
      name: m.measure(reference, output, sample_rate_hz=sample_rate_hz)
      for name, m in while_training().items()
    }
  reference, output = np.asarray(reference), np.asarray(output)
  if reference.shape != output.shape or reference.shape[2:] != (1,):
    raise ValueError(
      f"reference {reference.shape} and output {output.shape} must have one "
      "shape [B, T, 1]"
    )

  def value(m, one, other):
    found, _ = clips.measure(m, one, other, sample_rate_hz=sample_rate_hz)
    return np.nan if found is None else found

  return {
    name: np.array(
      [
        value(m, one[:, 0], other[:, 0])
        for one, other in zip(reference, output, strict=True)
      ],
      np.float64,
    )
    for name, m in chosen(names, table).items()
  }


def measure_clip(
  name: str,
  reference: np.ndarray,
  output: np.ndarray,
  *,
  sample_rate_hz: int,
  table: Mapping[str, Metric] | None = None,
) -> tuple[float | None, str]:
  """Returns (value, '') of a clip, or (None, why there is none).

  There is none for a silent reference, a clip that is too short, and where
  the metric raises an error or gives what is no number or outside its range.

  Args:
    name: of the metric.
    reference: [T].
    output: [T].
    sample_rate_hz: of both.
    table: None is METRICS; else with a user's own.

  Raises:
    ValueError: the two are not of one shape [T].
    InputError: there is no such metric.
  """
  (found,) = chosen([name], table).values()
  return clips.measure(found, reference, output, sample_rate_hz=sample_rate_hz)
