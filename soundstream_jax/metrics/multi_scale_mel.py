"""Multi-scale mel distance: the sum over seven resolutions, as DAC reports it.

Windows of 32, 64, ..., 2048 samples with hops of a quarter, 5, 10, ..., 320 mel
bins, and of each the mean of |lg max(m, 1e-5) - lg max(m', 1e-5)|; m is the
magnitude in librosa's mel filters. Those are the values of Descript's audio
codec (conf/final/24khz.yml of descript-audio-codec, mag_weight 0, pow 1), at
the clips' own sample rate. Only whole windows count, where DAC reflects half a
window at the ends: a clip is never padded, and up to 511 samples of its end
that fill no window are left out of the longest.

Kumar et al., "High-fidelity audio compression with improved RVQGAN", 2023.
"""

import numpy as np

from soundstream_jax.metrics import log_mel
from soundstream_jax.metrics import metric as metric_lib

WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
BINS = (5, 10, 20, 40, 80, 160, 320)
FLOOR = 1e-5
# Frames of the longest window that are held at a time: 16 MB of each signal.
_FRAMES = 2048


def distance(
  reference: np.ndarray, output: np.ndarray, *, sample_rate_hz: int
) -> np.ndarray:
  """Returns the distance of each clip [B], float64, of audio [B, T, 1].

  Raises:
    ValueError: the shapes differ or are not [B, T, 1].
    NoValue: the clips are shorter than the longest window.
  """
  reference, output = np.asarray(reference), np.asarray(output)
  if reference.shape != output.shape or reference.shape[2:] != (1,):
    raise ValueError(
      f"reference {reference.shape} and output {output.shape} must have one "
      "shape [B, T, 1]"
    )
  if reference.shape[1] < WINDOWS[-1]:
    raise metric_lib.NoValue(
      f"the clip has {reference.shape[1]} samples; the multi-scale mel "
      f"distance needs {WINDOWS[-1]}"
    )
  return np.array(
    [
      sum(
        _at_scale(one, other, window, bins, sample_rate_hz)
        for window, bins in zip(WINDOWS, BINS, strict=True)
      )
      for one, other in zip(
        reference[:, :, 0].astype(np.float32),
        output[:, :, 0].astype(np.float32),
        strict=True,
      )
    ],
    np.float64,
  )


def _at_scale(
  reference: np.ndarray,
  output: np.ndarray,
  window: int,
  bins: int,
  sample_rate_hz: int,
) -> float:
  """Returns the mean over frames and bins of two clips [T]."""
  filters = log_mel.mel_filters(sample_rate_hz, window=window, bins=bins).T
  phase = 2.0 * np.pi * np.arange(window) / window
  hann = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

  def log_mels(frames):
    magnitude = np.abs(np.fft.rfft(frames * hann, axis=1))
    return np.log10(np.maximum(magnitude @ filters, np.float32(FLOOR)))

  one, other = (
    np.lib.stride_tricks.sliding_window_view(audio, window)[:: window // 4]
    for audio in (reference, output)
  )
  at_once = _FRAMES * WINDOWS[-1] // window
  total = sum(
    np.sum(
      np.abs(
        log_mels(one[at : at + at_once]) - log_mels(other[at : at + at_once])
      ),
      dtype=np.float64,
    )
    for at in range(0, len(one), at_once)
  )
  return float(total / (len(one) * bins))
