"""Between `tiny` and the paper: half the paper's width; about an hour on two cores.

The second row of Table I with half of its D: 2.1 M parameters in the generator
instead of 8.4, a quarter of its products. The discriminators have 0.2 M instead
of 22. A step, of 3.2 s of sound, takes about 0.65 s on two cores and 1.4 s
once they take part; so they do at the end, with the weights of `tiny`.
"""

from soundstream_jax import config


def get_config():
  c = config.default()
  c.num_steps = 5_000
  c.batch_size = 8
  c.model.encoder_channels = 16
  c.model.decoder_channels = 16
  c.model.embedding_dim = 128
  # 12 kbit/s in all: with dropout, every bitrate from 750 bit/s on.
  c.quantizer.num_quantizers = 16
  # Latents move fast in a short training; the codebooks have to follow.
  c.quantizer.ema_decay = 0.98
  c.quantizer.kmeans_batches = 64  # 15 frames per code
  c.discriminator.wave_scales = 2
  c.discriminator.wave_channels = 8
  c.discriminator.wave_max_channels = 64
  c.discriminator.stft_channels = 4
  c.discriminator.start_step = 4_500
  c.loss.adversarial_weight = 0.1
  c.loss.feature_weight = 3.0
  c.loss.spectral_windows = (128, 512, 2048)
  c.optimizer.learning_rate = 1e-3
  c.optimizer.discriminator_learning_rate = 5e-4
  c.optimizer.beta1 = 0.8
  c.optimizer.beta2 = 0.99
  c.optimizer.warmup_steps = 100
  c.optimizer.decay_per_step = 0.9995
  c.optimizer.ema_decay = 0.99
  c.data.crop_samples = 9_600
  c.data.num_threads = 2
  c.evaluation.every_steps = 1_000
  c.checkpoint.every_steps = 500
  return c
