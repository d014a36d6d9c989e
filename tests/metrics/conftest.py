"""Sound that tests of metrics measure: synthetic voices and noise."""

import numpy as np
import pytest

from soundstream_jax.audio.synthetic import voices

RATE_HZ = 24_000


@pytest.fixture(scope="session")
def speakers():
  """Three speakers of 1.5 s, float32 [T] at 24 kHz."""
  return [
    voices.synthesize(
      np.random.default_rng(speaker), 3 * RATE_HZ // 2, RATE_HZ
    ).astype(np.float32)
    for speaker in range(3)
  ]


@pytest.fixture(scope="session")
def hiss():
  """Pink noise of unit power and 1.5 s, float32 [T] at 24 kHz."""
  samples = 3 * RATE_HZ // 2
  spectrum = np.fft.rfft(np.random.default_rng(9).normal(size=samples))
  spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
  noise = np.fft.irfft(spectrum, samples)
  return (noise / np.std(noise)).astype(np.float32)


@pytest.fixture(scope="session")
def with_noise(hiss):
  """Returns a function (clip, SNR in dB) -> the clip with pink noise."""

  def add(clip, snr_db):
    return clip + hiss * np.std(clip) * np.float32(10 ** (-snr_db / 20))

  return add
