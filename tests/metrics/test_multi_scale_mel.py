"""The multi-scale mel distance against librosa, at DAC's resolutions."""

import librosa
import numpy as np
import pytest

from soundstream_jax import metrics
from soundstream_jax.metrics import multi_scale_mel


def noise(*shape, seed=0, gain=0.1):
  values = np.random.default_rng(seed).standard_normal(shape)
  return (gain * values).astype(np.float32)


def by_librosa(reference, output, rate_hz):
  """The sum over scales as DAC has it, of whole windows alone."""
  total = 0.0
  for power in range(5, 12):
    window, bins = 2**power, 5 * 2 ** (power - 5)
    mels = [
      librosa.feature.melspectrogram(
        y=audio.astype(np.float64),
        sr=rate_hz,
        n_fft=window,
        hop_length=window // 4,
        n_mels=bins,
        power=1.0,
        center=False,
      )
      for audio in (reference, output)
    ]
    logs = [np.log10(np.maximum(mel, 1e-5)) for mel in mels]
    total += np.mean(np.abs(logs[0] - logs[1]))
  return total


# Of 64 bins and more, some lie between two bins of the DFT.
@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
@pytest.mark.parametrize("samples", [2_048, 5_001, 30_000])
def test_it_equals_librosa_at_every_scale(rate_hz, samples):
  a, b = noise(2, samples, 1), noise(2, samples, 1, seed=1, gain=0.03)
  b[:, samples // 2 :] = 0
  actual = multi_scale_mel.distance(a, b, sample_rate_hz=rate_hz)
  expected = [
    by_librosa(x, y, rate_hz)
    for x, y in zip(a[:, :, 0], b[:, :, 0], strict=True)
  ]
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_pieces_of_a_long_clip_change_nothing(monkeypatch):
  a, b = noise(1, 40_000, 1), noise(1, 40_000, 1, seed=1)
  whole = multi_scale_mel.distance(a, b, sample_rate_hz=24_000)
  monkeypatch.setattr(multi_scale_mel, "_FRAMES", 3)
  pieces = multi_scale_mel.distance(a, b, sample_rate_hz=24_000)
  np.testing.assert_allclose(whole, pieces, rtol=1e-6)


def test_a_gain_costs_its_logarithm_at_each_of_seven_scales():
  a = noise(1, 24_000, 1)
  np.testing.assert_allclose(
    multi_scale_mel.distance(a, 10 * a, sample_rate_hz=8_000), 7, rtol=0.02
  )


def test_it_is_a_distance():
  a, b = noise(2, 4_000, 1), noise(2, 4_000, 1, seed=1)

  def distance(x, y):
    return multi_scale_mel.distance(x, y, sample_rate_hz=24_000)

  np.testing.assert_array_equal(distance(a, -a), 0)
  np.testing.assert_array_equal(distance(a, b), distance(b, a))
  assert (distance(a, b) > 0).all()


def test_shapes_and_lengths_that_it_cannot_take_are_refused():
  def distance(*shapes):
    return multi_scale_mel.distance(
      *map(np.zeros, shapes), sample_rate_hz=24_000
    )

  with pytest.raises(ValueError, match=r"one shape \[B, T, 1\]"):
    distance((2, 4_000, 1), (2, 4_001, 1))
  with pytest.raises(ValueError, match=r"one shape \[B, T, 1\]"):
    distance((2, 4_000), (2, 4_000))
  with pytest.raises(metrics.NoValue, match="the clip has 2047 samples"):
    distance((1, 2_047, 1), (1, 2_047, 1))
