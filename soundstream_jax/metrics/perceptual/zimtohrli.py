"""Zimtohrli: a listener's difference between two sounds, as an opinion score.

Google's psychoacoustic metric of 2024, at 48 kHz, 1 to 5: equal signals get 5.
Full scale counts as 80 dB of sound pressure; no loudness is made equal, and
time is warped to match.
"""

import numpy as np

from soundstream_jax.metrics import metric

RATE_HZ = 48_000
# Warping takes memory by the square: a minute 0.3 GB, ten 30 GB.
MOST_S = 60.0


def score(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the mean opinion score of two clips [T] at 48 kHz.

  Raises:
    NoValue: the clip is longer than a minute.
  """
  import zimtohrli

  seconds = len(reference) / RATE_HZ
  if seconds > MOST_S:
    raise metric.NoValue(
      f"the clip has {seconds:.0f} s; Zimtohrli takes {MOST_S:g}: cut it"
    )
  return zimtohrli.mos_from_signals(reference, output)
