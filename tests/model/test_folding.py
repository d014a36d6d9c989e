"""Convolutions between blocks of samples against those between samples."""

import jax
import numpy as np
import pytest

from soundstream_jax.convolution import two_taps as causal
from soundstream_jax.convolution.tpu import folding

STRIDES = (1, 2, 4, 5)


def normal(*shape):
  rng = np.random.default_rng(0)
  return rng.standard_normal(shape).astype(np.float32)


def assert_same(actual, expected, *arguments):
  """Holds values and gradients of two functions to 1e-5."""
  cotangent = normal(*jax.eval_shape(expected, *arguments).shape)

  def run(function):
    def values_and_gradients(*arguments):
      y, pull = jax.vjp(function, *arguments)
      return y, *pull(cotangent)

    return jax.jit(values_and_gradients)(*arguments)

  for a, e in zip(run(actual), run(expected), strict=True):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max())


@pytest.mark.parametrize("fold", [1, 2, 4, 8])
@pytest.mark.parametrize("dilation", [1, 3, 9])
def test_dilated(fold, dilation):
  def folded(x, kernel):
    y = folding.convolve(
      folding.refold(x, 1, fold),
      kernel,
      fold=fold,
      dilation=dilation,
      before=6 * dilation,
    )
    return folding.refold(y, fold, 1)

  def samples(x, kernel):
    return causal.causal_conv(x, kernel, dilation=dilation)

  assert_same(folded, samples, normal(2, 80, 3), normal(7, 3, 5))


@pytest.mark.parametrize("fold", [1, 2, 4])
@pytest.mark.parametrize("stride", STRIDES)
def test_strided(fold, stride):
  def folded(x, kernel):
    blocks = folding.refold(x, 1, fold * stride)
    y = folding.convolve(
      blocks, kernel, fold=fold, stride=stride, before=stride
    )
    return folding.refold(y, fold, 1)

  def samples(x, kernel):
    return causal.plain_strided_conv(x, kernel, stride=stride)

  assert_same(
    folded, samples, normal(2, 6 * fold * stride, 3), normal(2 * stride, 3, 5)
  )


@pytest.mark.parametrize("fold", [1, 2, 4])
@pytest.mark.parametrize("stride", STRIDES)
def test_transposed(fold, stride):
  def folded(x, kernel):
    y = folding.transposed(
      folding.refold(x, 1, fold), kernel, fold=fold, stride=stride
    )
    return folding.refold(y, fold * stride, 1)

  def samples(x, kernel):
    return causal.plain_transposed_conv(x, kernel, stride=stride)

  assert_same(folded, samples, normal(2, 6 * fold, 3), normal(2 * stride, 3, 5))


def test_blocks_fill_vectors_and_divide_what_is_left():
  # The paper's encoder: 32 channels at 24 kHz, 64 at 12 kHz, then 128 and 256.
  assert folding.factors((32, 64, 128, 256), (2, 4, 5, 8)) == [4, 2, 1, 1]
  assert folding.factors((16, 32), (3, 5)) == [5, 1]
