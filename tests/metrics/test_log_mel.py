"""The log-mel distance against librosa."""

import librosa
import numpy as np
import pytest

from soundstream_jax.metrics import log_mel


def noise(*shape, seed=0, gain=0.1):
  values = np.random.default_rng(seed).standard_normal(shape)
  return (gain * values).astype(np.float32)


@pytest.mark.parametrize("bins", [64, 40, 13])
@pytest.mark.parametrize("window", [1024, 4095])
@pytest.mark.parametrize(
  "rate_hz", [1_500, 8_000, 12_347, 16_000, 22_050, 24_000, 44_100, 48_000]
)
def test_filters_equal_those_of_librosa(rate_hz, window, bins):
  expected = librosa.filters.mel(
    sr=rate_hz, n_fft=window, n_mels=bins, dtype=np.float64
  )
  actual = log_mel.mel_filters(rate_hz, window=window, bins=bins)
  assert actual.dtype == np.float32
  np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
@pytest.mark.parametrize("samples", [24_000, 5_001, 300])
def test_it_equals_librosa_mel_spectrograms(rate_hz, samples):
  reference = noise(2, samples, 1)
  output = noise(2, samples, 1, seed=1, gain=0.01)

  def mel(y):
    return librosa.feature.melspectrogram(
      y=np.pad(y, 512), sr=rate_hz, n_fft=1024, hop_length=256, n_mels=64,
      power=1.0, center=False,
    )  # fmt: skip

  expected = [
    np.mean(np.abs(np.log(mel(a[:, 0]) + 1e-5) - np.log(mel(b[:, 0]) + 1e-5)))
    for a, b in zip(reference, output, strict=True)
  ]
  actual = log_mel.distance(reference, output, sample_rate_hz=rate_hz)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_frames_are_centred_as_librosa_centres_them():
  audio = noise(1, 4_000, 1)
  expected = librosa.feature.melspectrogram(
    y=audio[0, :, 0],
    sr=24_000,
    n_fft=1024,
    hop_length=256,
    n_mels=64,
    power=1.0,
  )
  silence = np.zeros_like(audio)
  actual = log_mel.distance(audio, silence, sample_rate_hz=24_000)
  np.testing.assert_allclose(
    actual, np.mean(np.log(expected + 1e-5) - np.log(1e-5)), rtol=1e-5
  )


def test_it_is_a_distance_of_spectra():
  a, b = noise(3, 4_000, 1), noise(3, 4_000, 1, seed=1)

  def distance(x, y):
    return log_mel.distance(x, y, sample_rate_hz=24_000)

  np.testing.assert_array_equal(distance(a, a), 0)
  np.testing.assert_array_equal(distance(a, -a), 0)
  np.testing.assert_array_equal(distance(a, b), distance(b, a))
  assert (distance(a, b) > 0).all()
  np.testing.assert_array_equal(distance(0 * a, 0 * b), 0)


def test_a_gain_costs_its_logarithm():
  a = noise(1, 24_000, 1)
  np.testing.assert_allclose(
    log_mel.distance(a, 2 * a, sample_rate_hz=24_000), np.log(2), rtol=1e-2
  )


def test_clips_do_not_depend_on_each_other():
  a, b = noise(3, 4_000, 1), noise(3, 4_000, 1, seed=1)
  together = log_mel.distance(a, b, sample_rate_hz=24_000)
  alone = log_mel.distance(a[1:2], b[1:2], sample_rate_hz=24_000)
  np.testing.assert_allclose(together[1:2], alone, rtol=1e-6)


def test_other_shapes_are_refused():
  with pytest.raises(ValueError, match=r"\(2, 4, 1\) and output \(2, 5, 1\)"):
    log_mel.distance(
      np.zeros((2, 4, 1)), np.zeros((2, 5, 1)), sample_rate_hz=24_000
    )
  with pytest.raises(ValueError, match=r"one shape \[B, T, 1\]"):
    log_mel.distance(np.zeros((2, 4)), np.zeros((2, 4)), sample_rate_hz=24_000)
