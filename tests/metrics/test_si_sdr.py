"""SI-SDR: known ratios, invariances and degenerate signals."""

import numpy as np
import pytest

from soundstream_jax.metrics import si_sdr


def orthogonal(samples=4_000):
  """Two zero-mean signals of equal energy with no projection on each other."""
  t = 2 * np.pi * np.arange(samples) / samples
  return np.sin(5 * t)[None, :, None], np.cos(9 * t)[None, :, None]


@pytest.mark.parametrize("decibels", [-20.0, 0.0, 6.0, 40.0])
def test_orthogonal_noise_gives_its_energy_ratio(decibels):
  signal, noise = orthogonal()
  output = signal + 10 ** (-decibels / 20) * noise
  np.testing.assert_allclose(
    si_sdr.ratio_db(signal, output), decibels, atol=1e-6
  )


def test_scales_signs_and_offsets_do_not_matter():
  signal, noise = orthogonal()
  output = signal + 0.3 * noise
  expected = si_sdr.ratio_db(signal, output)
  for scale in (1e-6, -1.0, 1e6):
    for actual in (
      si_sdr.ratio_db(scale * signal, output),
      si_sdr.ratio_db(signal, scale * output),
      si_sdr.ratio_db(signal + 0.7, output - 3.0),
    ):
      np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_it_equals_the_definition_on_noise():
  rng = np.random.default_rng(0)
  reference = rng.standard_normal((3, 1000, 1))
  output = reference + 0.5 * rng.standard_normal((3, 1000, 1))
  expected = []
  for s, x in zip(reference[:, :, 0], output[:, :, 0], strict=True):
    s, x = s - s.mean(), x - x.mean()
    target = (x @ s) / (s @ s) * s
    expected.append(
      10 * np.log10((target @ target) / ((x - target) @ (x - target)))
    )
  np.testing.assert_allclose(
    si_sdr.ratio_db(reference, output), expected, atol=1e-6
  )
  low = si_sdr.ratio_db(reference.astype("f4"), output.astype("f4"))
  np.testing.assert_allclose(low, expected, atol=1e-4)


def test_equal_signals_reach_the_limit():
  signal, _ = orthogonal()
  np.testing.assert_allclose(
    si_sdr.ratio_db(signal, 0.5 * signal), 100.0, atol=1e-6
  )


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_an_output_without_the_reference_gets_the_lower_limit(level):
  signal, _ = orthogonal()
  constant = np.full_like(signal, level)
  assert si_sdr.ratio_db(signal, constant) == -100.0


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_silent_reference_gives_zero_whatever_the_output(level):
  signal, _ = orthogonal()
  constant = np.full_like(signal, level)
  assert si_sdr.ratio_db(constant, signal) == 0.0
  assert si_sdr.ratio_db(constant, constant) == 0.0
  assert si_sdr.ratio_db(constant, np.zeros_like(signal)) == 0.0


def test_clips_do_not_depend_on_each_other():
  signal, noise = orthogonal()
  reference = np.concatenate([signal, np.zeros_like(signal), signal])
  output = np.concatenate([signal + noise, noise, signal + 0.1 * noise])
  np.testing.assert_allclose(
    si_sdr.ratio_db(reference, output), [0.0, 0.0, 20.0], atol=1e-6
  )


def test_other_shapes_are_refused():
  with pytest.raises(ValueError, match=r"one shape \[B, T, 1\]"):
    si_sdr.ratio_db(np.zeros((2, 4, 1)), np.zeros((2, 5, 1)))
  with pytest.raises(ValueError, match=r"one shape \[B, T, 1\]"):
    si_sdr.ratio_db(np.zeros((2, 4)), np.zeros((2, 4)))
