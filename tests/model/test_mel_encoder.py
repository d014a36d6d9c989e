"""Laws of the encoder that learns nothing: fixed features, causal, one function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.audio import spectral
from soundstream_jax.model import mel_encoder, soundstream

# Windows of two hops and of more take other ways through the methods.
STRIDES = ((4, 20), (16, 32))
FORMS = ("plain", "blocks", "rows", "lanes")


@pytest.fixture(scope="module")
def mel_config(small_config):
  def make(strides=STRIDES[0], **overrides):
    return small_config(
      **{
        "model.encoder": "mel",
        "model.strides": strides,
        "model.embedding_dim": 32,
        "data.crop_samples": 5_120,
        "evaluation.clip_samples": 5_120,
        **overrides,
      }
    )

  return make


def encoder(config, params=None):
  """Returns a jitted function of audio [B, T, 1]."""
  net = soundstream.from_config(config)
  variables = {"params": jax.tree.map(jnp.asarray, params or {})}
  return jax.jit(
    lambda x, **options: net.apply(
      variables, x, method=lambda net, x: net.encode(x, **options)
    )
  )


def noise(frames, hop, scale=0.1, seed=0):
  values = np.random.default_rng(seed).standard_normal((2, frames * hop, 1))
  return (scale * values).astype(np.float32)


def expected(config, audio):
  """The definition, in numpy and float64, one frame after the other."""
  hop, rate = config.rates.hop_samples, config.audio.sample_rate_hz
  window = hop * max(2, -(-rate * mel_encoder.WINDOW_MS // (1000 * hop)))
  bins = config.model.embedding_dim
  hann = spectral.hann(window).astype(np.float64)
  filters = spectral.mel_filterbank(rate, window, bins).astype(np.float64)
  padded = np.pad(audio[..., 0], ((0, 0), (window - hop, 0)))
  latents = []
  for start in range(0, audio.shape[1], hop):
    cut = padded[:, start : start + window] * hann * 2 / hann.sum()
    power = np.square(np.abs(np.fft.rfft(cut, axis=1))) @ filters
    log = np.log(power + mel_encoder.POWER_FLOOR)
    silence = np.log(mel_encoder.POWER_FLOOR)
    latents.append(mel_encoder.LARGEST * (2 * log / silence - 1) * -1)
  return np.stack(latents, axis=1)


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("form", FORMS)
def test_every_method_computes_the_log_of_mel_power(mel_config, form, strides):
  config = mel_config(strides, form=form)
  audio = noise(12, config.rates.hop_samples)
  latents = encoder(config)(audio)
  assert latents.shape == (2, 12, 32)
  np.testing.assert_allclose(
    latents, expected(config, audio), rtol=1e-4, atol=1e-4
  )


def test_in_float64_it_is_the_definition(mel_config):
  config = mel_config(**{"model.compute_dtype": "float64"})
  with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
    audio = noise(12, config.rates.hop_samples).astype(np.float64)
    latents = encoder(config)(audio)
    assert latents.dtype == np.float64
    np.testing.assert_allclose(
      latents, expected(config, audio), rtol=1e-6, atol=1e-6
    )


def test_in_bfloat16_latents_alone_are_rounded(mel_config):
  config = mel_config(**{"model.compute_dtype": "bfloat16"})
  audio = noise(12, config.rates.hop_samples)
  with jax.numpy_dtype_promotion("strict"):
    latents = np.asarray(encoder(config)(audio))
  exact = encoder(mel_config())(audio)
  assert latents.dtype == np.float32
  np.testing.assert_allclose(latents, exact, rtol=2**-8, atol=1e-5)


def test_it_has_no_parameters(mel_config):
  assert set(soundstream.declare(mel_config())) == {"decoder"}
  flagged = mel_config(**{"model.film": "encoder"})
  assert set(soundstream.declare(flagged)) == {"decoder", "film"}


def test_film_conditions_its_latents(mel_config):
  config = mel_config(**{"model.film": "encoder"})
  params = soundstream.init(config, jax.random.key(0))
  encode = encoder(config, params)
  audio = noise(4, config.rates.hop_samples)
  on, off = (encode(audio, denoise=jnp.full((2,), flag)) for flag in (1, 0))
  np.testing.assert_array_equal(on[..., :24], off[..., :24])
  assert (np.asarray(on) != np.asarray(off)).any()


def test_nothing_in_the_future_changes_the_past(mel_config):
  config = mel_config()
  hop, encode = config.rates.hop_samples, encoder(mel_config())
  audio = noise(20, hop)
  poisoned = audio.copy()
  poisoned[:, 10 * hop :] = np.nan
  latents, other = encode(audio), encode(poisoned)
  np.testing.assert_array_equal(latents[:, :10], other[:, :10])
  assert np.isnan(other[:, 10]).all()


@pytest.mark.parametrize("strides", STRIDES)
def test_its_context_is_its_window(mel_config, strides):
  config = mel_config(strides)
  hop, context = config.rates.hop_samples, soundstream.context(config)
  audio = noise(30, hop)
  audio[:, 0] = np.nan
  heard = np.isnan(encoder(config)(audio)).any(axis=(0, 2))
  # The first sample is in every frame whose window reaches back to it.
  assert heard[: context.encoder_frames].all()
  assert not heard[context.encoder_frames :].any()


def test_silence_and_a_full_sine_are_the_ends_of_the_scale(mel_config):
  config = mel_config()
  encode = encoder(config)
  silence = encode(np.zeros((1, 1_600, 1), np.float32))
  np.testing.assert_allclose(silence, -mel_encoder.LARGEST, rtol=1e-6)
  time = np.arange(4_800) / config.audio.sample_rate_hz
  sine = np.sin(2 * np.pi * 300 * time).astype(np.float32)
  loudest = float(encode(sine[None, :, None]).max())
  assert 0.8 * mel_encoder.LARGEST < loudest <= mel_encoder.LARGEST + 1e-3


def test_loudness_shifts_all_latents_alike(mel_config):
  encode = encoder(mel_config())
  audio = noise(40, 80)
  louder = np.asarray(encode(10 * audio))[:, 8:]
  shift = louder - np.asarray(encode(audio))[:, 8:]
  # 20 dB of the 80 dB that are twice LARGEST.
  np.testing.assert_allclose(shift, mel_encoder.LARGEST / 2, atol=0.02)
