"""Measures tables on a model's codes, and what they save on other codes."""

from collections.abc import Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr.entropy import frequencies, plane_coder
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

# Planes of this many frames are coded to see what tables save.
PLANE_FRAMES = 256


def measure(
  codes: Sequence[np.ndarray], *, codebook_size: int, fingerprint: bytes
) -> tuple[tables_lib.Tables, np.ndarray]:
  """Makes tables of codes, and measures what such tables save.

  The saving is what tables of every other piece save on the pieces between: a
  table fits what it was made of better than anything else.

  Args:
    codes: [F, Q] of each piece of audio.
    codebook_size: K.
    fingerprint: of the model.

  Returns:
    Tables of all codes, and the share of bytes saved per layer, float64 [Q].

  Raises:
    InputError: too few codes.
  """
  halves = [codes[0::2], codes[1::2]]
  if min(sum(map(len, half)) for half in halves) < PLANE_FRAMES:
    raise errors.InputError(
      f"{sum(map(len, codes))} frames are too few to measure tables on. Use "
      "more records of more audio, or more --seconds."
    )
  halves = [np.concatenate(half) for half in halves]
  counts = [count(half, codebook_size) for half in halves]
  tried = frequencies.from_counts(counts[0], fingerprint=fingerprint)
  made = frequencies.from_counts(sum(counts), fingerprint=fingerprint)
  return made, saving(halves[1], tried, frames=PLANE_FRAMES)


def count(codes: np.ndarray, codebook_size: int) -> np.ndarray:
  """Returns how often each code occurs in codes [F, Q], int64 [Q, K]."""
  return np.stack(
    [np.bincount(layer, minlength=codebook_size) for layer in codes.T]
  )


def saving(
  codes: np.ndarray, made: tables_lib.Tables, *, frames: int
) -> np.ndarray:
  """Returns the share of bytes saved per layer [Q], of codes [F, Q]."""
  planes, layers = to_planes(codes, frames=frames)
  blobs = plane_coder.encode_planes(planes, layers, made)
  lengths = np.reshape([len(blob) for blob in blobs], (-1, codes.shape[1]))
  return 1 - lengths.mean(axis=0) / plane_coder.packed_bytes(frames, made)


def to_planes(
  codes: np.ndarray, *, frames: int
) -> tuple[np.ndarray, np.ndarray]:
  """Cuts codes [F, Q] into planes [F // frames * Q, frames]; with their layers.

  Frames at the end that make no whole plane are left out.
  """
  chunks, layers = len(codes) // frames, codes.shape[1]
  whole = codes[: chunks * frames].reshape(chunks, frames, layers)
  planes = whole.transpose(0, 2, 1).reshape(-1, frames)
  return planes, np.tile(np.arange(layers), chunks)


def entropy_bits(made: tables_lib.Tables) -> np.ndarray:
  """Returns the entropy of each layer's table in bits per code, float64 [Q]."""
  share = made.frequencies / (1 << made.precision)
  return -np.sum(share * np.log2(share), axis=1)
