"""The reconstruction loss against equations 4 and 5 in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config
from soundstream_jax.audio import spectral as spectra
from soundstream_jax.losses import spectral
from soundstream_jax.settings.constraints import analysis

RATE_HZ = 24_000
WINDOWS = config.Loss().spectral_windows


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


def noise(*shape, seed=0, gain=0.1):
  values = np.random.default_rng(seed).standard_normal(shape)
  return (gain * values).astype(np.float32)


# These programs run once, so compiling them quickly matters more.
QUICK = {"xla_backend_optimization_level": 0}


@functools.partial(
  jax.jit,
  static_argnames=("windows", "mel_bins", "log_floor"),
  compiler_options=QUICK,
)
def distance(target, prediction, windows=WINDOWS, mel_bins=64, log_floor=1e-4):
  return spectral.distance(
    target,
    prediction,
    sample_rate_hz=RATE_HZ,
    windows=windows,
    mel_bins=bins_of(windows, mel_bins),
    log_floor=log_floor,
  )


def bins_of(windows, mel_bins):
  """One number of bins for each window."""
  return mel_bins if isinstance(mel_bins, tuple) else (mel_bins,) * len(windows)


def reference(target, prediction, windows, bins):
  """Equations 4 and 5 in float64, sums over bins, mean over frames."""
  total = 0.0
  for s in windows:
    hann = np.hanning(s + 1)[:-1]
    filters = spectra.mel_filterbank(RATE_HZ, s, bins).astype(np.float64)

    def mel(audio, s=s, hann=hann, filters=filters):
      starts = range(0, audio.shape[1] - s + 1, s // 4)
      frames = np.stack([audio[:, t : t + s, 0] for t in starts], axis=1)
      power = np.abs(np.fft.rfft(frames * hann)) ** 2
      return np.sqrt(power + 1e-8) @ filters

    a, b = mel(target.astype(np.float64)), mel(prediction.astype(np.float64))
    alpha = np.sqrt(s / 2)
    per_frame = np.abs(a - b).sum(-1) + alpha * np.sqrt(
      ((np.log(a) - np.log(b)) ** 2).sum(-1)
    )
    total += per_frame.mean() / bins
  return total


@pytest.mark.parametrize(("bins", "windows"), [(64, WINDOWS), (16, (128, 512))])
def test_it_is_the_printed_sum_over_bins_divided_by_their_number(bins, windows):
  target, prediction = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  actual = distance(target, prediction, windows, bins).total
  expected = reference(target, prediction, windows, bins)
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_scales_are_summed():
  target, prediction = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  both = distance(target, prediction, (64, 512))
  one, other = (distance(target, prediction, (s,)) for s in (64, 512))
  np.testing.assert_allclose(both.linear, one.linear + other.linear, rtol=1e-6)
  np.testing.assert_allclose(both.log, one.log + other.log, rtol=1e-6)


def test_each_window_may_have_bins_of_its_own():
  target, prediction = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  both = distance(target, prediction, (64, 512), (10, 80))
  expected = sum(
    reference(target, prediction, (window,), bins)
    for window, bins in ((64, 10), (512, 80))
  )
  np.testing.assert_allclose(both.total, expected, rtol=1e-4)


def test_what_lies_below_the_floor_of_the_logarithm_costs_it_nothing():
  quiet = [noise(2, 2560, 1, seed=seed, gain=1e-5) for seed in range(2)]
  loud = [noise(2, 2560, 1, seed=seed, gain=1.0) for seed in range(2)]
  for (a, b), most, least in ((quiet, 0.02, 0.0), (loud, 1.01, 0.99)):
    whole, floored = (
      distance(a, b, (64, 512), 10, log_floor) for log_floor in (1e-4, 1e-2)
    )
    assert floored.linear == whole.linear
    assert least * whole.log <= floored.log <= most * whole.log


def test_far_below_its_floor_the_logarithm_is_as_flat_as_the_square():
  """d log sqrt(S^2 + f^2) is S dS / f^2 there, where d log S is dS / S."""
  quiet = noise(2, 2560, 1, gain=1e-3)

  def slope(log_floor):
    of = jax.jit(
      jax.grad(
        lambda x: distance.__wrapped__(quiet, x, (64,), 10, log_floor).log
      ),
      compiler_options=QUICK,
    )
    return np.linalg.norm(of(2 * quiet))

  np.testing.assert_allclose(slope(0.1), 100 * slope(1.0), rtol=0.1)
  assert slope(1e-4) > 100 * slope(0.1)


def test_its_weights_multiply_its_terms():
  a, b = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  found = distance(a, b, (64,), 10)
  for linear, log in ((1.0, 1.0), (3.0, 1.0), (1.0, 0.0), (0.5, 0.25)):
    np.testing.assert_allclose(
      found.weighted(linear, log),
      linear * found.linear + log * found.log,
      rtol=1e-6,
    )


def test_the_least_floor_is_the_one_that_a_configuration_may_have():
  assert config.Loss().log_floor == spectral.LEAST_LOG_FLOOR
  assert analysis.LEAST_LOG_FLOOR == spectral.LEAST_LOG_FLOOR


def test_a_gain_costs_its_logarithm_times_alpha_over_root_bins():
  target = noise(2, 2560, 1, gain=10.0)
  actual = distance(target, 2 * target).log
  expected = sum(np.sqrt(s / 2) / 8 for s in WINDOWS) * np.log(2)
  np.testing.assert_allclose(actual, expected, rtol=1e-3)


def test_the_linear_term_scales_with_the_signals():
  target, prediction = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  one, ten = (distance(g * target, g * prediction).linear for g in (1.0, 10.0))
  np.testing.assert_allclose(ten, 10 * one, rtol=1e-3)


def test_it_is_symmetric_and_zero_only_for_equal_audio():
  a, b = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  assert distance(a, a).total == 0
  assert distance(a, b).total > 0
  np.testing.assert_allclose(
    distance(a, b).total, distance(b, a).total, rtol=1e-6
  )


def test_a_batch_costs_the_mean_of_its_clips():
  a, b = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  alone = [
    distance(a[i : i + 1], b[i : i + 1], (64, 512)).total for i in range(2)
  ]
  both = distance(a, b, (64, 512)).total
  np.testing.assert_allclose(both, np.mean(alone), rtol=1e-5)


@pytest.fixture(scope="module")
def value_and_grad():
  """The loss at the narrowest and widest scale, and its slope."""
  with jax.numpy_dtype_promotion("strict"):
    return jax.jit(
      jax.value_and_grad(
        lambda x, y: distance.__wrapped__(x, y, (64, 2048)).total, argnums=1
      ),
      compiler_options=QUICK,
    )


@pytest.mark.parametrize(
  ("target_gain", "prediction_gain"),
  [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1), (1e-6, 0.0), (0.0, 1e-30)],
)
def test_gradients_are_finite_at_silence_and_at_equality(
  value_and_grad, target_gain, prediction_gain
):
  target = noise(2, 2560, 1, gain=target_gain)
  prediction = noise(2, 2560, 1, gain=prediction_gain)
  value, slope = value_and_grad(target, prediction)
  assert np.isfinite(value)
  assert np.isfinite(slope).all()


def test_a_step_down_the_gradient_lowers_the_loss(value_and_grad):
  target, prediction = noise(2, 2560, 1), noise(2, 2560, 1, seed=1)
  value, slope = value_and_grad(target, prediction)
  step = 1e-3 * slope / np.linalg.norm(slope)
  lower, _ = value_and_grad(target, prediction - step)
  predicted = 1e-3 * np.linalg.norm(slope)
  np.testing.assert_allclose(value - lower, predicted, rtol=0.1)


def test_bfloat16_audio_is_compared_in_float32():
  target = jnp.asarray(noise(2, 2560, 1))
  prediction = jnp.asarray(noise(2, 2560, 1, seed=1)).astype(jnp.bfloat16)
  low = distance(target, prediction, (64, 512))
  full = distance(target, prediction.astype(jnp.float32), (64, 512))
  assert low.total.dtype == low.linear.dtype == jnp.float32
  np.testing.assert_array_equal(low.total, full.total)


def test_audio_shorter_than_the_longest_window_is_refused():
  with pytest.raises(ValueError, match="window of 2048"):
    distance(np.zeros((1, 2000, 1)), np.zeros((1, 2000, 1)))
