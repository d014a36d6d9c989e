"""Log-mel distance: how far apart two spectrograms are, in nepers.

The mean over frames and bins of |ln(m + 1e-5) - ln(m' + 1e-5)|, where m is
librosa.feature.melspectrogram(y, n_fft=1024, hop_length=256, n_mels=64,
power=1): magnitudes, Slaney's scale and normalisation, centred frames with
zeros beyond the ends. Fixed on purpose: numbers from different runs compare.
"""

import numpy as np

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
  filters = _filters(sample_rate_hz)
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


def _filters(sample_rate_hz: int) -> np.ndarray:
  """Returns librosa's mel filters [BINS, WINDOW // 2 + 1], float32."""
  import librosa  # it loads numba and scipy, which training does not need

  return librosa.filters.mel(sr=sample_rate_hz, n_fft=WINDOW, n_mels=BINS)
