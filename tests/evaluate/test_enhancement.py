"""Denoising is measured right: codecs with a known result."""

import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.data import held_out
from soundstream_jax.evaluate import enhancement


class _Known:
  """A codec whose codes are the audio; the flag calls a function on it."""

  film = "encoder"
  sample_rate = 24_000
  bitrates = (6_000,)
  step = 7

  def __init__(self, enhance):
    self._enhance = enhance

  check_denoise = codec_lib.Codec.check_denoise

  def encode(self, audio, *, bitrate_bps=None, denoise=False):
    del bitrate_bps
    return self._enhance(audio) if denoise else audio

  def decode(self, codes, *, denoise=False):
    assert not denoise
    return codes


@pytest.fixture
def config(make_config, voices, noises):
  return make_config(
    "",
    **{
      "data.speech": voices,
      "data.noise": noises,
      "data.mixture.noisy_speech": 1.0,
      "evaluation.clip_samples": 24_000,
    },
  )


def _values(codec, config):
  result = enhancement.evaluate(
    codec, config, split="train", snr_db=5.0, num_clips=20
  )
  return enhancement.to_dict(result)


def test_a_perfect_denoiser_passes_and_one_that_does_nothing_fails(config):
  clips = held_out.noisy(config, split="train", num=20, snr_db=5.0)
  clean = {
    noisy.tobytes(): voice[:, 0]
    for noisy, voice in zip(
      clips.audio[:, :, 0], clips.clean.audio, strict=True
    )
  }
  perfect = _values(_Known(lambda audio: clean[audio.tobytes()]), config)
  assert all(perfect["criteria"].values())
  assert perfect["clips"] == 20
  np.testing.assert_allclose(perfect["si_sdr_db"]["input"], 5.0, atol=0.1)
  idle = _values(_Known(lambda audio: audio), config)
  assert not any(idle["criteria"].values())
  assert "NO" in enhancement.to_text(idle)
  assert "  yes  SI-SDR: flag on gains over 1 dB on the input" in (
    enhancement.to_text(perfect)
  )


def test_a_model_without_the_flag_is_refused(config):
  codec = _Known(lambda audio: audio)
  codec.film = "none"
  with pytest.raises(errors.InputError, match="without denoising"):
    _values(codec, config)


def test_the_interval_is_that_of_student():
  rng = np.random.default_rng(0)
  for count in (2, 5, 24, 200):
    covered = [
      abs(enhancement.interval(gains)["mean"] - 1)
      <= enhancement.interval(gains)["high"]
      - enhancement.interval(gains)["mean"]
      for gains in rng.normal(1, 2, size=(2_000, count))
    ]
    assert 0.935 < np.mean(covered) < 0.97


def test_shipped_presets_for_enhancement_name_flag_and_mixture():
  for name in ("enhance_tiny", "enhance_24khz"):
    config = config_lib.from_dict(config_lib.load(name))
    assert config.model.film != "none"
    assert config.data.mixture.noisy_speech > 0
