"""The one table of quantizers: values of quantizer.kind, and the class of each.

A new one is a module here, its line in KINDS and its line in the table of
`settings.constraints.quantizers`.
"""

from soundstream_jax import config as config_lib
from soundstream_jax.model.quantizers import ema, fsq, low_dim
from soundstream_jax.model.quantizers import kind as kind_lib

KINDS: dict[str, type[kind_lib.Kind]] = {
  "ema": ema.Ema,
  "low_dim": low_dim.LowDim,
  "fsq": fsq.Fsq,
}


def of(config: config_lib.Quantizer) -> kind_lib.Kind:
  """Returns the kind of a configuration."""
  return KINDS[config.kind].of(config)


def codebooks_shape(config: config_lib.Config) -> tuple[int, int, int]:
  """Returns (Q, K, C) of the codebooks' vectors."""
  q = config.quantizer
  dim = of(q).dim(config.model.embedding_dim)
  return q.num_quantizers, q.codebook_size, dim
