"""Seconds on a CPU: the same paths as the paper's model, all of them small."""

from soundstream_jax import config


def get_config():
  c = config.default()
  c.num_steps = 1_000
  c.batch_size = 8
  # The early stride of 4 keeps most layers away from the full rate.
  c.model.strides = (4, 4, 4, 5)
  c.model.encoder_channels = 8
  c.model.decoder_channels = 8
  c.model.embedding_dim = 64
  c.quantizer.num_quantizers = 10
  c.quantizer.codebook_size = 256
  c.quantizer.kmeans_batches = 16
  c.discriminator.wave_channels = 4
  c.discriminator.wave_max_channels = 16
  c.discriminator.stft_channels = 2
  c.discriminator.stft_window = 512
  c.discriminator.stft_hop = 256
  c.discriminator.start_step = 700
  c.optimizer.learning_rate = 2e-3
  c.optimizer.discriminator_learning_rate = 5e-4
  c.optimizer.warmup_steps = 30
  c.optimizer.decay_per_step = 0.997
  c.optimizer.ema_decay = 0.98
  c.data.crop_samples = 9_600
  c.data.num_threads = 2
  c.logging.every_steps = 20
  c.evaluation.every_steps = 200
  c.evaluation.num_clips = 6
  c.evaluation.clip_samples = 48_000
  c.checkpoint.every_steps = 200
  return c
