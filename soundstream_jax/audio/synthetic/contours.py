"""Control contours at 100 frames per second, and what applies them.

A contour is an array [F, ...], one value every 10 ms. The synthesis of voices,
instruments and noises is written in them.
"""

import numpy as np

FRAME_SECONDS = 0.01


def num_frames(num_samples: int, rate_hz: int) -> int:
  return -(-num_samples // hop_samples(rate_hz)) + 1


def hop_samples(rate_hz: int) -> int:
  return round(FRAME_SECONDS * rate_hz)


def bins_hz(rate_hz: int) -> np.ndarray:
  window = 4 * hop_samples(rate_hz)
  return np.arange(window // 2 + 1, dtype=np.float32) * rate_hz / window


def shape(audio: np.ndarray, envelope: np.ndarray, rate_hz: int) -> np.ndarray:
  """Multiplies the short-time spectrum by an envelope [frames, bins]."""
  hop = hop_samples(rate_hz)
  window = np.sin(np.pi * np.arange(4 * hop) / (4 * hop)).astype(np.float32)
  frames = len(envelope)
  padded = np.zeros((frames + 3) * hop, np.float32)
  padded[2 * hop : 2 * hop + len(audio)] = audio
  windows = np.lib.stride_tricks.sliding_window_view(padded, 4 * hop)[::hop]
  spectrum = np.fft.rfft(windows[:frames] * window) * envelope
  shaped = np.fft.irfft(spectrum, 4 * hop).astype(np.float32) * window
  out = np.zeros((frames + 3, hop), np.float32)
  for quarter in range(4):
    out[quarter : quarter + frames] += shaped[
      :, quarter * hop : (quarter + 1) * hop
    ]
  return out.reshape(-1)[2 * hop : 2 * hop + len(audio)] / 2


def smooth(contour: np.ndarray, frames: int) -> np.ndarray:
  """Averages [F, ...] over a Hann window of 2 * frames + 1 along time."""
  window = np.hanning(2 * frames + 3)[1:-1]
  window /= window.sum()
  padding = [(frames, frames)] + [(0, 0)] * (contour.ndim - 1)
  padded = np.pad(contour, padding, mode="edge")
  return convolve(padded, window)[2 * frames :].astype(np.float32)


def convolve(audio: np.ndarray, kernel: np.ndarray) -> np.ndarray:
  """Returns the first N values of audio [N, ...] convolved with a kernel."""
  size = 1 << (len(audio) + len(kernel) - 2).bit_length()
  shape = (-1,) + (1,) * (audio.ndim - 1)
  spectrum = np.fft.rfft(kernel, size).reshape(shape)
  spectrum = spectrum * np.fft.rfft(audio, size, axis=0)
  return np.fft.irfft(spectrum, size, axis=0)[: len(audio)]


def slow_noise(rng: np.random.Generator, frames: int, width: int) -> np.ndarray:
  """Returns [frames] of slow noise with a standard deviation near 1."""
  noise = smooth(rng.standard_normal(frames + 2 * width), width)
  return noise[width : width + frames] * np.sqrt(1.5 * width)


def to_samples(
  contour: np.ndarray, num_samples: int, rate_hz: int
) -> np.ndarray:
  """Interpolates [frames] to [num_samples]."""
  at = np.arange(num_samples, dtype=np.float32) / hop_samples(rate_hz)
  return np.interp(at, np.arange(len(contour)), contour).astype(np.float32)


def room(
  rng: np.random.Generator, audio: np.ndarray, rate_hz: int
) -> np.ndarray:
  """Adds a quiet diffuse tail and the noise floor of a recording."""
  decay_seconds = rng.uniform(0.08, 0.3)
  t = np.arange(round(decay_seconds * rate_hz)) / rate_hz
  tail = rng.standard_normal(len(t)) * np.exp(-6.9 * t / decay_seconds)
  tail *= rng.uniform(0.05, 0.25) / np.linalg.norm(tail)
  tail[0] = 1
  wet = convolve(audio, tail)
  floor = np.abs(wet).max() * 10 ** rng.uniform(-3.5, -2.75)
  return wet + floor * rng.standard_normal(len(wet), np.float32)
