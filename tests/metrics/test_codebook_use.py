"""Perplexity and dead codes of known counts."""

import jax
import numpy as np
import pytest

from soundstream_jax.metrics import codebook_use


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


def test_perplexity_is_the_number_of_codes_used_equally():
  counts = np.zeros((4, 16), np.int32)
  for layer, used in enumerate((1, 2, 5, 16)):
    counts[layer, :used] = 7
  np.testing.assert_allclose(
    codebook_use.perplexity(counts), [1, 2, 5, 16], rtol=1e-5
  )


def test_perplexity_is_exp_of_entropy_and_ignores_scale():
  counts = np.random.default_rng(0).uniform(size=(3, 32)).astype(np.float32)
  share = counts / counts.sum(axis=1, keepdims=True)
  expected = np.exp(-(share * np.log(share)).sum(axis=1))
  for scale in (1e-3, 1.0, 1e3):
    np.testing.assert_allclose(
      jax.jit(codebook_use.perplexity)(np.float32(scale) * counts),
      expected,
      rtol=1e-5,
    )


def test_a_layer_without_counts_has_perplexity_one_and_is_dead():
  counts = np.zeros((2, 8), np.float32)
  np.testing.assert_array_equal(codebook_use.perplexity(counts), 1.0)
  np.testing.assert_array_equal(
    codebook_use.dead_fraction(counts, threshold=0.1), 1.0
  )


def test_dead_codes_lie_below_a_share_of_the_mean_count():
  counts = np.asarray([[10, 10, 10, 10], [37, 1, 1, 1], [20, 20, 0, 0]])
  for threshold, expected in (
    (0.0, [0, 0, 0.5]),
    (0.1, [0, 0, 0.5]),  # 0.1 of the mean 10 is 1, which is not below it
    (0.2, [0, 0.75, 0.5]),
  ):
    np.testing.assert_array_equal(
      codebook_use.dead_fraction(counts, threshold=threshold),
      np.float32(expected),
    )


def test_dead_codes_do_not_depend_on_the_size_of_the_batch():
  counts = np.random.default_rng(0).integers(0, 9, (3, 64)).astype(np.float32)
  few, many = (
    codebook_use.dead_fraction(scale * counts, threshold=0.5)
    for scale in (np.float32(1), np.float32(4096))
  )
  np.testing.assert_array_equal(few, many)
