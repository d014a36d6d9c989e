"""Scale-invariant signal-to-distortion ratio (SI-SDR) in decibels.

The output is split into its projection on the reference and the rest; the
ratio of their energies does not change when either signal is scaled. Means are
removed first.
"""

import numpy as np

# Results are clipped here: equal signals would give infinity.
LIMIT_DB = 100.0


def ratio_db(
  reference: np.ndarray,
  output: np.ndarray,
  *,
  sample_rate_hz: int | None = None,
) -> np.ndarray:
  """Returns the SI-SDR of each clip [B], float64 dB, of audio [B, T, 1].

  Always finite, within +-LIMIT_DB. An output that holds nothing of the
  reference, silence included, gets -LIMIT_DB. The ratio is not defined for a
  silent (constant) reference; 0 is returned, which leaves sums unchanged. It
  is the same at any sample rate.

  Raises:
    ValueError: the shapes differ or are not [B, T, 1].
  """
  del sample_rate_hz
  reference, output = np.asarray(reference), np.asarray(output)
  if reference.shape != output.shape or reference.shape[2:] != (1,):
    raise ValueError(
      f"reference {reference.shape} and output {output.shape} must have one "
      "shape [B, T, 1]"
    )
  reference, output = _normalised(reference), _normalised(output)
  defined = np.any(reference != 0, axis=1)
  energy = np.where(defined, np.sum(reference**2, axis=1), 1.0)
  gain = np.sum(reference * output, axis=1) / energy
  projection = gain[:, None] * reference
  wanted = np.sum(projection**2, axis=1)
  distortion = np.sum((output - projection) ** 2, axis=1)
  # Both are relative to an output of energy about 1, or both are 0.
  tiny = 10.0 ** (-LIMIT_DB / 5)
  decibels = 10.0 * np.log10((wanted + tiny**2) / (distortion + tiny))
  decibels = np.where(wanted > 0, decibels, -LIMIT_DB)
  return np.where(defined, np.clip(decibels, -LIMIT_DB, LIMIT_DB), 0.0)


def _normalised(audio: np.ndarray) -> np.ndarray:
  """Returns [B, T] float64 without mean, of unit energy unless constant."""
  audio = audio[:, :, 0].astype(np.float64)
  peak = np.max(np.abs(audio), axis=1, keepdims=True, initial=0.0)
  audio = audio / np.where(peak > 0, peak, 1.0)
  audio = audio - np.mean(audio, axis=1, keepdims=True)
  # What a constant leaves behind is rounding, not signal.
  energy = np.sum(audio**2, axis=1, keepdims=True)
  constant = energy <= 1e-24 * audio.shape[1]
  return np.where(
    constant, 0.0, audio / np.sqrt(np.where(constant, 1.0, energy))
  )
