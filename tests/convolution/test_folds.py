"""One rule plans how a TPU folds every network; its exceptions are data."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.convolution import folding, granules
from soundstream_jax.convolution.tpu import method as tpu
from soundstream_jax.model import (
  soundstream,
  stft_discriminator,
  wave_discriminator,
)

FOLDS = []


@dataclasses.dataclass(frozen=True)
class Recording(tpu.Tpu):
  """Notes the folds between which strided layers, and the first one, stand."""

  def convolve(self, spec, x, parameters, memory):
    y = super().convolve(spec, x, parameters, memory)
    if not FOLDS or (spec.stride > 1 and spec.kernel[-1] > 1):
      before = x.values.shape[-1] // x.channels
      FOLDS.append((before, y.shape[-1] // spec.features))
    return y


def folds_of(function, *shape):
  FOLDS.clear()
  jax.eval_shape(function, jax.ShapeDtypeStruct(shape, jnp.float32))
  return [FOLDS[0][0], *(after for _, after in FOLDS[1:])]


def of_network(module, samples):
  return folds_of(lambda x: module.init(jax.random.key(0), x), 1, samples, 1)


def test_a_fold_fills_a_vector_and_divides_what_stays_together():
  assert folding.factor(32, 320) == 4
  assert folding.factor(64, 160) == 2
  assert folding.factor(16, 15) == 5
  assert folding.factor(16, 7) == 7
  assert folding.factor(200, 320) == 1


@pytest.mark.parametrize(
  ("channels", "strides", "folds"),
  [
    (32, (2, 4, 5, 8), [4, 2, 1, 1, 1]),
    (8, (2, 4, 5, 8), [16, 8, 4, 2, 1]),
    (16, (3, 5), [5, 1, 1]),
    (4, (7, 3), [21, 3, 1]),
  ],
)
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_generator_folds_within_a_hop(channels, strides, folds, frames):
  model = config_lib.Model(
    encoder_channels=channels, decoder_channels=channels, strides=strides
  )
  net = soundstream.SoundStream(
    model, config_lib.Quantizer(num_quantizers=1), method=Recording()
  )
  hop = math.prod(strides)

  def run(method):
    return lambda x: net.init(jax.random.key(0), x, method=method)

  assert folds_of(run("encode"), 1, frames * hop, 1) == folds
  assert folds_of(run("decode"), 1, frames, 256) == folds[::-1]


@pytest.mark.parametrize(
  ("channels", "window", "folds"),
  [
    (32, 1024, [4, 2, 1, 1, 1, 1, 1]),
    (2, 128, [64, 32, 16, 8, 4, 2, 1]),
    (4, 256, [32, 16, 8, 8, 4, 4, 2]),
    (5, 512, [16, 8, 4, 4, 2, 2, 1]),
  ],
)
def test_the_stft_network_folds_frequencies(channels, window, folds):
  module = stft_discriminator.StftDiscriminator(
    channels, window, window // 4, "layer", Recording()
  )
  assert of_network(module, 2 * window) == folds


@pytest.mark.parametrize(
  ("channels", "max_channels", "samples", "folds"),
  [
    (16, 1024, 1_600, [8, 2, 1, 1, 1]),
    (4, 16, 1_600, [8, 2, 1, 1, 1]),
    (16, 1024, 1_601, [1, 1, 1, 1, 1]),  # not a multiple of 16
    (32, 1024, 1_600, [1, 1, 1, 1, 1]),  # groups of the second stage stay apart
  ],
)
def test_a_wave_network_folds_two_stages(
  channels, max_channels, samples, folds
):
  module = wave_discriminator.WaveDiscriminator(
    channels, max_channels, "weight", Recording()
  )
  assert of_network(module, samples) == folds


def test_a_network_that_is_no_exception_has_none():
  assert set(granules.BOUNDS) == {"stft", "wave"}
