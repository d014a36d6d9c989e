"""PESQ, wideband: quality of speech after a telephone line, as ITU-T P.862.2.

At 16 kHz, 1.0 to 4.64. Delays are taken out utterance by utterance; the louder
of the two is brought to full scale, and both to one loudness.
"""

import numpy as np

from soundstream_jax.metrics import metric

RATE_HZ = 16_000
LEAST_S = 0.25
# Its C program writes past its tables at the 51st utterance, and may crash. One
# takes 0.2 s, and the pause before the next as much.
MOST_S = 20.0


def score(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of two clips [T] at 16 kHz.

  Raises:
    NoValue: the clip is too short or too long, the output is silent, or there
      is no speech in it.
  """
  import pesq

  seconds = len(reference) / RATE_HZ
  if not LEAST_S <= seconds <= MOST_S:
    raise metric.NoValue(
      f"the clip has {seconds:.2f} s; PESQ takes {LEAST_S:g} to {MOST_S:g}"
    )
  if not np.any(output):
    raise metric.NoValue("the output is digital silence, which has no loudness")
  try:
    return pesq.pesq(RATE_HZ, reference, output, "wb")
  except pesq.NoUtterancesError:
    raise metric.NoValue("PESQ finds no speech") from None
