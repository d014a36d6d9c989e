"""A model of one's own from an hour on a CPU: speech, noisy speech and music.

Half the paper's width, 1.5 to 6 kbit/s, and what won the trials of equal
examples (docs/training.md): a waveform term, which settles phases; first
kernels of a tenth of the usual gain, with which it settles them soon; half of
the examples past the quantizer; the mel bins of Descript Audio Codec; a cosine.
Name data.speech, data.music and data.noise.
"""

from soundstream_jax import config


def get_config():
  c = config.load("small")
  c.num_steps = 7_500  # 24,000 s of sound
  c.model.input_gain = 10.0
  c.quantizer.num_quantizers = 8
  c.quantizer.bypass_probability = 0.5
  c.discriminator.start_step = 7_500
  c.loss.waveform_weight = 5.0
  c.loss.spectral_windows = (32, 64, 128, 256, 512, 1024, 2048)
  c.loss.mel_bins = (5, 10, 20, 40, 80, 160, 320)
  c.optimizer.schedule = "cosine"
  c.data.mixture.speech = 1.0
  c.data.mixture.noisy_speech = 1.0
  c.data.mixture.music = 1.0
  return c
