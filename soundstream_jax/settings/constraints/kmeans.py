"""Constraints on the k-means start."""

from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings.constraints import quantizers

# Frames per code that k-means looks at; of more it takes a random share. A mean of
# 256 is off by a sixteenth of its cluster's radius. Ours.
MOST_FRAMES_PER_CODE = 256


def frames(config: Any) -> int:
  """Frames that the k-means start of the codebooks sees; 0 without it."""
  return batches(config) * config.batch_size * frames_per_clip(config)


def frames_per_clip(config: Any) -> int:
  """Frames of each clip that it sees: all, or as many as are enough.

  The same number of every clip, so that no clip has to be looked at for it.
  At least one: only more clips than enough frames are more than enough.
  """
  clips = max(1, batches(config) * config.batch_size)
  enough = MOST_FRAMES_PER_CODE * config.quantizer.codebook_size // clips
  there = config.rates.num_frames(config.data.crop_samples)
  return min(there, max(1, enough))


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
