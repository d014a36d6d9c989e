"""An hour on a CPU of two cores, minutes on a GPU: half the paper's width.

The second row of Table I, with half its D and small discriminators.
"""

from soundstream_jax import config


def get_config():
  c = config.default()
  c.num_steps = 5_000
  c.batch_size = 8
  c.model.encoder_channels = 16
  c.model.decoder_channels = 16
  c.model.embedding_dim = 128
  c.quantizer.num_quantizers = 16
  c.quantizer.kmeans_batches = 64
  c.discriminator.wave_scales = 2
  c.discriminator.wave_channels = 8
  c.discriminator.wave_max_channels = 64
  c.discriminator.stft_channels = 4
  c.discriminator.start_step = 4_000
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
