"""STOI: how much of speech can be understood, as a correlation.

At 10 kHz, of 15 third octaves from 150 Hz; 1 for equal signals. Frames in which
the reference is 40 dB below its loudest are left out of both. Nothing is
aligned: a delay of the codec counts as a fault.

Taal et al., "An algorithm for intelligibility prediction of time-frequency
weighted noisy speech", 2011.
"""

import warnings

import numpy as np

from soundstream_jax.metrics import metric

RATE_HZ = 10_000


def score(reference: np.ndarray, output: np.ndarray) -> float:
  """Returns the score of two clips [T] at 10 kHz.

  Raises:
    NoValue: less than 0.4 s of the reference is loud.
  """
  import pystoi

  if len(reference) <= 256:
    raise metric.NoValue("the clip is shorter than a frame of STOI")
  with warnings.catch_warnings():
    # With it comes 1e-5, which looks like a score.
    warnings.filterwarnings("error", "Not enough STFT frames")
    try:
      return pystoi.stoi(reference, output, RATE_HZ)
    except RuntimeWarning:
      raise metric.NoValue(
        "less than 0.4 s of the reference is loud enough for STOI"
      ) from None
