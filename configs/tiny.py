"""Seconds on a CPU: the same paths as the paper's model, all of them small."""

from soundstream_jax import config


def get_config():
  c = config.default()
  c.num_steps = 1_200
  c.batch_size = 8
  c.model.encoder_channels = 8
  c.model.decoder_channels = 16
  c.model.embedding_dim = 64
  c.quantizer.num_quantizers = 10
  c.quantizer.codebook_size = 256
  c.quantizer.kmeans_batches = 8
  c.discriminator.wave_channels = 4
  c.discriminator.wave_max_channels = 64
  c.discriminator.stft_channels = 4
  c.data.crop_samples = 9_600
  return c
