"""A small random model, audio, and what the network makes of all of it."""

import dataclasses

import jax
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.model import soundstream

CONFIG = config_lib.Config(
  audio=config_lib.Audio(sample_rate_hz=8_000),
  model=config_lib.Model(
    encoder_channels=3,
    decoder_channels=4,
    strides=(2, 5),
    embedding_dim=8,
    film="encoder",
  ),
  quantizer=config_lib.Quantizer(num_quantizers=4, codebook_size=16),
)
HOP = 10
FRAMES = 120


@pytest.fixture(autouse=True)
def _strict_promotion():
  with jax.numpy_dtype_promotion("strict"):
    yield


@pytest.fixture(scope="session")
def config():
  """Of the model: 10 samples a frame, 4 layers of 16 codes."""
  return CONFIG


@pytest.fixture(scope="session")
def made(random_codec):
  return random_codec(CONFIG)


@pytest.fixture(scope="session")
def codec(made):
  return made[0]


@pytest.fixture(scope="session")
def audio():
  """120 frames, the last of them not whole."""
  noise = np.random.default_rng(0).standard_normal(FRAMES * HOP - 3)
  return (0.3 * noise).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Whole:
  latents: np.ndarray  # [F, D]
  codes: np.ndarray  # [F, Q]
  audio: np.ndarray  # [F * hop]


@pytest.fixture(scope="session")
def whole(made, audio):
  """What the network makes of all audio at once, as in training."""
  return _whole(CONFIG, made, audio)


@pytest.fixture(scope="session")
def whole_of():
  """Returns whole_of(config, made, audio) -> Whole."""
  return _whole


def _whole(config, made, audio):
  net = soundstream.from_config(config)

  @jax.jit
  def outputs(variables, audio):
    latents = net.apply(variables, audio, method="encode")
    codes = net.apply(variables, latents, method="quantize").codes
    decoded = net.apply(variables, codes, method="dequantize")
    decoded = net.apply(variables, decoded, method="decode")
    return latents[0], codes[0], decoded[0, :, 0]

  filled = np.pad(audio, (0, -len(audio) % config.rates.hop_samples))
  results = outputs(soundstream.variables(*made[1:]), filled[None, :, None])
  return Whole(*map(np.asarray, results))
