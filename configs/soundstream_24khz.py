"""The paper's scalable model: 18 kbit/s with quantizer dropout."""

from soundstream_jax import config


def get_config():
  c = config.default()
  c.quantizer.kmeans_batches = 8
  c.checkpoint.every_seconds = 600.0  # a pod that dies loses ten minutes
  return c
