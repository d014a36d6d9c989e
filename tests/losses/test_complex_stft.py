"""Laws of the error of complex spectra: it has no level, and sees phases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.losses import complex_stft, spectral

WINDOWS = (64, 512)

log_error = functools.partial(complex_stft.log_error, sample_rate_hz=24_000)


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


@functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
def value_and_slope(target, prediction):
  return jax.value_and_grad(lambda x: log_error(target, x, windows=WINDOWS))(
    prediction
  )


def loss(target, prediction):
  return float(value_and_slope(target, prediction)[0])


def noise(seed=0, level=0.2, batch=2):
  values = np.random.default_rng(seed).normal(size=(batch, 2560, 1))
  return (level * values).astype(np.float32)


def turned(audio, phase):
  """Every frequency's phase moved by `phase`, of whole clips."""
  spectrum = np.fft.rfft(audio, axis=1)
  spectrum[:, 1:-1] *= np.exp(1j * phase)
  return np.fft.irfft(spectrum, n=audio.shape[1], axis=1).astype(np.float32)


@pytest.mark.parametrize("level", [0.02, 0.5])
def test_a_gain_costs_its_distance_from_one(level):
  target = noise(level=level)
  for gain in (-1.0, 0.0, 0.5, 0.9, 3.0):
    np.testing.assert_allclose(
      loss(target, np.float32(gain) * target),
      np.log1p(abs(1 - gain)),
      rtol=0.06,
    )


@pytest.mark.parametrize("phase", [0.1, 1.0, np.pi / 2, np.pi])
def test_a_turn_of_all_phases_costs_twice_the_sine_of_its_half(phase):
  target = noise()
  np.testing.assert_allclose(
    loss(target, turned(target, phase)),
    np.log1p(2 * np.sin(phase / 2)),
    rtol=0.05,
  )


def test_a_shift_in_time_is_seen_here_and_hardly_by_magnitudes():
  """Half a period of a tone: other phases, the same spectrum."""
  time = np.arange(2568) / 16
  tone = (0.3 * np.sin(2 * np.pi * time)).astype(np.float32)[None, :, None]
  target, late = tone[:, 8:], tone[:, :-8]
  magnitudes = spectral.distance(
    target,
    late,
    sample_rate_hz=24_000,
    windows=(64,),
    mel_bins=(10,),
  )
  assert float(magnitudes.linear) < 1e-3
  np.testing.assert_allclose(loss(target, late), np.log(3), rtol=0.05)


def test_a_level_of_both_changes_nothing():
  a, b = noise(0), noise(1)
  np.testing.assert_allclose(
    loss(a, b), loss(np.float32(0.1) * a, np.float32(0.1) * b), rtol=0.05
  )
  # Phases that have nothing to do with each other.
  np.testing.assert_allclose(loss(a, b), np.log1p(np.sqrt(2)), rtol=0.03)


def test_an_examples_slope_is_as_steep_as_its_level_is_low():
  """The same relative change costs the same, loud or quiet."""
  a, b = noise(0), noise(1)
  loud, quiet = (
    np.linalg.norm(value_and_slope(g * a, g * b)[1])
    for g in (np.float32(1.0), np.float32(0.1))
  )
  np.testing.assert_allclose(quiet, 10 * loud, rtol=0.1)


def test_it_is_zero_with_no_slope_where_both_are_equal():
  for target in (noise(), 0 * noise()):
    value, slope = value_and_slope(target, target)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(
  ("target_level", "level"), [(0.0, 1e-30), (0.2, 0.0), (1e-6, 0.0)]
)
def test_slopes_are_finite_at_silence(target_level, level):
  value, slope = value_and_slope(noise(0, target_level), noise(1, level))
  assert np.isfinite(value)
  assert np.isfinite(slope).all()


def test_a_silent_target_pulls_at_an_output_about_as_others_do():
  output = noise(1)
  silent, other = (
    np.linalg.norm(value_and_slope(target, output)[1])
    for target in (0 * noise(), noise())
  )
  assert 0.5 * other < silent < 4 * other


def test_a_step_down_the_gradient_lowers_it():
  target, output = noise(0), noise(1)
  value, slope = value_and_slope(target, output)
  step = 0.05 * slope / np.linalg.norm(slope)
  lower, _ = value_and_slope(target, output - step)
  np.testing.assert_allclose(
    value - lower, 0.05 * np.linalg.norm(slope), rtol=0.1
  )


def test_a_batch_costs_the_mean_of_its_clips():
  a, b = noise(0), np.stack([*noise(1)[:1], *noise(2, level=0.01)[:1]])
  alone = [loss(a[i : i + 1], b[i : i + 1]) for i in range(2)]
  np.testing.assert_allclose(loss(a, b), np.mean(alone), rtol=1e-5)


def test_bfloat16_audio_is_compared_in_float32():
  a, b = noise(0), jnp.asarray(noise(1)).astype(jnp.bfloat16)
  low = log_error(a, b, windows=(64,))
  full = log_error(a, b.astype(jnp.float32), windows=(64,))
  assert low.dtype == jnp.float32
  np.testing.assert_array_equal(low, full)


def test_audio_shorter_than_the_longest_window_is_refused():
  with pytest.raises(ValueError, match="window of 4096"):
    log_error(noise(), noise(), windows=(64, 4096))
