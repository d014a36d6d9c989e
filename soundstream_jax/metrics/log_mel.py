"""Log-mel distance: how far apart two spectrograms are, in nepers.

The mean over frames and bins of |ln(m + 1e-5) - ln(m' + 1e-5)|, where m is
librosa.feature.melspectrogram(y, n_fft=1024, hop_length=256, n_mels=64,
power=1): magnitudes, Slaney's scale and normalisation, centred frames with
zeros beyond the ends. Fixed on purpose: numbers from different runs compare.
"""

import numpy as np

from soundstream_jax.audio import mel_scale

WINDOW = 1024
HOP = 256
BINS = 64
FLOOR = 1e-5


def distance(
  reference: np.ndarray, output: np.ndarray, *, sample_rate_hz: int
) -> np.ndarray:
  """Returns the distance of each clip [B], float32, of audio [B, T, 1].

  Raises:
    ValueError: the shapes differ or are not [B, T, 1].
  """
  frames = frame_distances(reference, output, sample_rate_hz=sample_rate_hz)
  return np.mean(frames, axis=1)


def frame_distances(
  reference: np.ndarray, output: np.ndarray, *, sample_rate_hz: int
) -> np.ndarray:
  """Returns the distance of each frame [B, N], around samples 0, HOP, ...

  Raises:
    ValueError: as `distance`.
  """
  reference, output = np.asarray(reference), np.asarray(output)
  if reference.shape != output.shape or reference.shape[2:] != (1,):
    raise ValueError(
      f"reference {reference.shape} and output {output.shape} must have one "
      "shape [B, T, 1]"
    )
  filters = mel_filters(sample_rate_hz)
  difference = _log_mel(reference, filters) - _log_mel(output, filters)
  return np.mean(np.abs(difference), axis=2)


def _log_mel(audio: np.ndarray, filters: np.ndarray) -> np.ndarray:
  """Returns ln(mel + FLOOR) [B, N, BINS] of audio [B, T, 1]."""
  audio = audio[:, :, 0].astype(np.float32)
  audio = np.pad(audio, ((0, 0), (WINDOW // 2, WINDOW // 2)))
  frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW, axis=1)
  phase = 2.0 * np.pi * np.arange(WINDOW) / WINDOW
  hann = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
  magnitude = np.abs(np.fft.rfft(frames[:, ::HOP] * hann, axis=2))
  return np.log(magnitude @ filters.T + np.float32(FLOOR))


def mel_filters(
  sample_rate_hz: int, *, window: int = WINDOW, bins: int = BINS
) -> np.ndarray:
  """Returns librosa's default mel filters [bins, window // 2 + 1], float32.

  Triangle m rises from edge m to edge m + 1 and falls to edge m + 2; its area
  over frequency in Hz is 1. Unlike `spectral.mel_filterbank` it may be empty.
  They are written out because librosa compiles with numba when it is imported,
  and numba wants a folder to write to, which a job may not have.
  """
  frequencies_hz = np.arange(window // 2 + 1) * sample_rate_hz / window
  edges_hz = mel_scale.edges_hz(sample_rate_hz / 2, bins)[:, None]
  lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
  rising = (frequencies_hz - lower) / (centre - lower)
  falling = (upper - frequencies_hz) / (upper - centre)
  triangles = np.maximum(0.0, np.minimum(rising, falling))
  return (2.0 / (upper - lower) * triangles).astype(np.float32)
