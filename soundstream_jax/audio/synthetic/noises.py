"""Synthetic noises: white noise under a drifting colour, gusts, crackle."""

import numpy as np

from soundstream_jax.audio.synthetic import contours


def synthesize(
  rng: np.random.Generator, num_samples: int, rate_hz: int
) -> np.ndarray:
  """One colour: own tilt and band that drift, gusts, and crackle."""
  frames = contours.num_frames(num_samples, rate_hz)
  freqs_hz = np.maximum(contours.bins_hz(rate_hz), 30)
  octaves = np.log2(freqs_hz / 1000)
  tilt = rng.uniform(-7, 1) + 2 * contours.slow_noise(
    rng, frames, 80
  )  # dB/octave
  centre = rng.uniform(-2.5, 2.5) + contours.slow_noise(rng, frames, 60)
  width = rng.uniform(0.4, 1.5)
  peak_db = rng.uniform(0, 18)
  level_db = rng.uniform(2, 8) * contours.slow_noise(rng, frames, 40)
  distance = (octaves - centre[:, None]) / width
  shape_db = (
    tilt[:, None] * octaves
    + peak_db * np.exp(-(distance**2))
    + level_db[:, None]
  )
  envelope = 10 ** (np.clip(shape_db, -80, 40) / 20)
  noise = rng.standard_normal(num_samples, np.float32)
  audio = contours.shape(noise, envelope.astype(np.float32), rate_hz)
  audio /= np.sqrt(np.mean(audio**2))
  if rng.random() < 0.6:
    audio += rng.uniform(1, 4) * _crackle(rng, num_samples, rate_hz)
  # Soft clipping keeps one loud gust from making the rest silent.
  return np.tanh(audio / 4)


def _crackle(
  rng: np.random.Generator, num_samples: int, rate_hz: int
) -> np.ndarray:
  """Sparse clicks with a short ringing each, as of rain or fire."""
  clicks = np.zeros(num_samples, np.float32)
  count = rng.poisson(rng.uniform(5, 60) * num_samples / rate_hz)
  places = rng.integers(0, num_samples, count)
  clicks[places] = rng.normal(0, 1, count) * rng.uniform(0.2, 1, count)
  t = np.arange(round(0.02 * rate_hz)) / rate_hz
  ring = np.exp(-t * rng.uniform(200, 1500)) * np.cos(
    2 * np.pi * rng.uniform(500, 6000) * t
  )
  return contours.convolve(clicks, ring)
