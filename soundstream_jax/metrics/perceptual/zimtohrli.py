"""Zimtohrli: a listener's difference between two sounds, as an opinion score.

Google's psychoacoustic metric of 2024, at 48 kHz, 1 to 5: equal signals get 5.
Its score is of their spectra as they are: nothing is aligned, and loudness
counts.
"""

import numpy as np

RATE_HZ = 48_000


def score(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the mean opinion score of two clips [T] at 48 kHz."""
  import zimtohrli

  return zimtohrli.mos_from_signals(reference, output)
