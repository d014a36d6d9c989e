"""The paper's 6 kbit/s model: eight layers of 1024 codes."""

from soundstream_jax import config


def get_config():
  c = config.load("soundstream_24khz")
  c.quantizer.num_quantizers = 8
  return c
