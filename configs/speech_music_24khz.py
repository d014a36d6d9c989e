"""A model of one's own from hours on a CPU: speech, noisy speech and music.

Half the paper's width, 6 kbit/s, with a waveform term that settles phases
(docs/training.md has the trials). Name data.speech, data.music and data.noise.
"""

from soundstream_jax import config


def get_config():
  c = config.load("small")
  c.num_steps = 7_500  # 24,000 s of sound
  c.quantizer.num_quantizers = 8
  c.discriminator.start_step = 7_500
  c.loss.waveform_weight = 5.0
  c.loss.spectral_windows = (64, 128, 256, 512, 1024, 2048)
  c.data.mixture.speech = 1.0
  c.data.mixture.noisy_speech = 1.0
  c.data.mixture.music = 1.0
  return c
