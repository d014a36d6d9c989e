"""Compression and enhancement together, under an hour on a CPU.

The flag works on the encoder's side (paper section III-F). A waveform term
(losses/waveform.py) joins the paper's losses: at this size it is what keeps the
output in step with the clean speech.
"""

from soundstream_jax import config


def get_config():
  c = config.load("tiny")
  c.num_steps = 7_000
  c.batch_size = 8
  c.model.film = "encoder"
  # A hop of 160: with one of 320, waveforms are 3 dB further from their targets
  # after as much work, quantized or not.
  c.model.strides = (4, 5, 8)
  c.model.encoder_channels = 16
  c.model.decoder_channels = 16
  c.model.embedding_dim = 128
  # 1.2 kbit/s per layer: 18 kbit/s in all, the paper's highest.
  c.quantizer.num_quantizers = 15
  c.quantizer.codebook_size = 256
  # All layers in every example: there is time to learn one bitrate.
  c.quantizer.dropout = False
  # The discriminators of `tiny` are too small to lead enhancement.
  c.discriminator.start_step = 1_000_000
  c.loss.waveform_weight = 20.0
  c.data.mixture.speech = 0.35
  c.data.mixture.noisy_speech = 0.65
  # At the paper's -30 dB there is little to take away, and little time to learn.
  c.data.noise_gain_db = (-20.0, 0.0)
  c.data.crop_samples = 9_600
  c.optimizer.decay_per_step = 0.9996
  c.checkpoint.every_steps = 500
  return c
