"""Bits of a clip's codes, as .sstr files hold them.

What counts are the planes (docs/format.md): the codes of whole frames, layer by
layer, in chunks of 256 frames, each plane filled to a byte; not the header, nor
what finds a chunk and checks it, which no other system under test has either.
Packed planes have log2(K) bits a code, coded ones what the entropy coder makes
of them. The fraction of a byte at the end of a plane does count, so a short
clip has a little more than its model's nominal bitrate.
"""

from collections.abc import Sequence

import numpy as np

from soundstream_jax import rates
from soundstream_jax.codec.sstr import packing, writer
from soundstream_jax.codec.sstr.entropy import (
  frequencies,
  measuring,
  plane_coder,
)
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


def packed(codes: np.ndarray, codebook_size: int) -> np.ndarray:
  """Returns the bits of each layer of packed codes [F, Q], int64 [Q]."""
  width = rates.bits_per_code(codebook_size)
  size = sum(packing.plane_bytes(len(chunk), width) for chunk in _chunks(codes))
  return np.full(codes.shape[1], 8 * size, np.int64)


def entropy_coded(codes: np.ndarray, tables: tables_lib.Tables) -> np.ndarray:
  """Returns the bits of each layer of entropy-coded codes [F, Q], int64 [Q]."""
  layers = np.arange(codes.shape[1])
  sizes = np.zeros(codes.shape[1], np.int64)
  for chunk in _chunks(codes):
    blobs = plane_coder.encode_planes(chunk.T, layers, tables)
    sizes += [len(blob) for blob in blobs]
  return 8 * sizes


def of_others(
  codes: Sequence[np.ndarray],
  index: int,
  *,
  counts: np.ndarray,
  fingerprint: bytes,
) -> tables_lib.Tables | None:
  """Returns tables of all clips but one, to code that one with.

  A table fits what it was made of better than anything else.

  Args:
    codes: [F, Q] of each clip.
    index: of the clip that is left out.
    counts: of `measuring.count` of all the clips, [Q, K].
    fingerprint: of the model, 32 bytes.

  Returns:
    None where there is no other clip.
  """
  if len(codes) < 2:
    return None
  own = measuring.count(codes[index], counts.shape[1])
  return frequencies.from_counts(counts - own, fingerprint=fingerprint)


def _chunks(codes: np.ndarray) -> list[np.ndarray]:
  return [
    codes[start : start + writer.FILE_FRAMES]
    for start in range(0, len(codes), writer.FILE_FRAMES)
  ]
