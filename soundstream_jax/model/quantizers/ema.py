"""The paper's quantizer: vectors of D dimensions that follow moving averages.

Paper section III-C. Codes are chosen and stand in the space of the latents, and
learn as `model.codebook` says; nothing of it has a gradient.
"""

from soundstream_jax.model.quantizers import kind


class Ema(kind.Kind):
  """All of it is what a `Kind` is without anything else."""
