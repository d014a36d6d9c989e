"""PESQ, wideband: quality of speech after a telephone line, as ITU-T P.862.2.

At 16 kHz, 1.0 to 4.64. Delays are taken out utterance by utterance.
"""

import numpy as np

from soundstream_jax.metrics import metric

RATE_HZ = 16_000
_LEAST_SECONDS = 0.25


def score(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of two clips [T] at 16 kHz.

  Raises:
    NoValue: the clip is shorter than 0.25 s, the output is silent, or no
      speech is found in one of them.
  """
  import pesq

  seconds = len(reference) / RATE_HZ
  if seconds < _LEAST_SECONDS:
    raise metric.NoValue(
      f"the clip has {seconds:.2f} s; PESQ needs {_LEAST_SECONDS:g}"
    )
  if not np.any(output):
    raise metric.NoValue("the output is digital silence")
  try:
    return pesq.pesq(RATE_HZ, reference, output, "wb")
  except pesq.NoUtterancesError:
    raise metric.NoValue("PESQ finds no speech") from None
