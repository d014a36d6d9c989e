"""Minutes on a CPU: the same paths as the paper's model, all of them small."""

from soundstream_jax import config


def get_config():
  c = config.default()
  c.num_steps = 2200
  c.batch_size = 4
  # The early stride of 5 keeps most layers away from the full rate.
  c.model.strides = (5, 8, 8)
  c.model.encoder_channels = 8
  c.model.decoder_channels = 8
  c.model.embedding_dim = 64
  c.model.residual_kernel = 3
  # 375 bit/s per layer: 6 kbit/s in all.
  c.quantizer.num_quantizers = 16
  c.quantizer.codebook_size = 32
  # Latents move fast in a short training; the codebooks have to follow.
  c.quantizer.ema_decay = 0.975
  c.quantizer.kmeans_batches = 8
  c.discriminator.wave_scales = 1
  c.discriminator.wave_channels = 4
  c.discriminator.wave_max_channels = 16
  c.discriminator.stft_channels = 2
  c.discriminator.stft_window = 512
  c.discriminator.stft_hop = 256
  c.discriminator.start_step = 2050
  c.loss.spectral_windows = (256, 1024)
  # The discriminators see 150 steps. With the paper's weights (1 and 100) they
  # lead before they know anything, and take away what the spectra taught.
  c.loss.adversarial_weight = 0.1
  c.loss.feature_weight = 3.0
  c.optimizer.learning_rate = 2e-3
  c.optimizer.discriminator_learning_rate = 5e-4
  c.optimizer.beta1 = 0.8
  c.optimizer.beta2 = 0.99
  c.optimizer.warmup_steps = 30
  c.optimizer.decay_per_step = 0.9985
  c.optimizer.ema_decay = 0.98
  c.data.crop_samples = 4_800
  c.data.num_threads = 2
  c.logging.every_steps = 50
  c.evaluation.every_steps = 1_500
  c.evaluation.num_clips = 6
  c.evaluation.clip_samples = 48_000
  c.checkpoint.every_steps = 500
  return c
