"""The paper's model, trained on all of the paper's mixtures with denoising.

Section III-F: FiLM at the encoder's bottleneck; section IV-A: clean and noisy
speech, music and noise. The shares are ours: the paper names none. Reverberant
speech is ours too; set its shares to 0 where there are no impulse responses.
"""

from soundstream_jax import config


def get_config():
  c = config.load("soundstream_24khz")
  c.model.film = "encoder"
  c.data.mixture.speech = 0.25
  c.data.mixture.noisy_speech = 0.35
  c.data.mixture.reverberant_speech = 0.05
  c.data.mixture.noisy_reverberant_speech = 0.1
  c.data.mixture.music = 0.2
  c.data.mixture.noise = 0.05
  c.data.filter_share = 0.2
  return c
