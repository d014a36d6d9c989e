"""Laws of the waveform's error."""

import jax
import numpy as np

from soundstream_jax.losses import waveform


def _audio(level, seed=0):
  noise = np.random.default_rng(seed).normal(size=(3, 4_000, 1))
  return (level * noise).astype(np.float32)


def test_it_is_the_negative_ratio_in_nepers_of_power():
  target = _audio(0.2)
  for ratio_db in (0, 10, 20):
    output = target + _audio(0.2 * 10 ** (-ratio_db / 20), seed=1)
    found = -10 / np.log(10) * float(waveform.log_error(target, output))
    np.testing.assert_allclose(found, ratio_db, atol=0.2)


def test_perfect_output_and_silence_are_finite_with_finite_gradients():
  slope = jax.grad(waveform.log_error, argnums=1)
  silence = np.zeros((2, 400, 1), np.float32)
  for target in (_audio(0.2), silence):
    assert np.isfinite(waveform.log_error(target, target))
    assert np.all(np.isfinite(slope(target, target)))
  np.testing.assert_allclose(waveform.log_error(silence, silence), 0.0)


def test_examples_count_alike_whatever_their_level():
  loud, quiet = _audio(0.5), _audio(0.02)
  both = np.concatenate([loud, quiet])
  output = 0.9 * both
  np.testing.assert_allclose(
    waveform.log_error(both, output), 2 * np.log(0.1), atol=0.2
  )
