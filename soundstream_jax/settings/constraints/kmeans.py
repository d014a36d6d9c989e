"""Constraints on the k-means start."""

from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings.constraints import quantizers


def frames(config: Any) -> int:
  """Frames that the k-means start of the codebooks sees; 0 without it."""
  per_batch = config.batch_size * config.rates.num_frames(
    config.data.crop_samples
  )
  return batches(config) * per_batch


def batches(config: Any) -> int:
  """Global batches that it sees; 0 without it."""
  learns = quantizers.KINDS[config.quantizer.kind].learns
  return config.quantizer.kmeans_batches if learns else 0


def check(config: Any) -> None:
  """Refuses fewer frames than codes, for a run that starts with k-means.

  Raises:
    InputError: with the numbers and the number of batches that suffices.
  """
  seen, size = frames(config), config.quantizer.codebook_size
  if 0 < seen < size:
    batches = config.quantizer.kmeans_batches
    needed = -(-size * batches // seen)
    raise errors.InputError(
      f"quantizer.kmeans_batches={batches} gives k-means {seen} frames for "
      f"{size} codes (batch_size={config.batch_size}, data.crop_samples="
      f"{config.data.crop_samples}). Use quantizer.kmeans_batches={needed} or "
      "more; 16 frames per code are better."
    )
