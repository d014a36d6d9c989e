"""Codes planes into fewer bytes and back, without loss.

A plane is the codes of one layer in the frames of one chunk, and is coded on
its own by `range_coder`. One that coding would not make shorter is packed, its
codes in log2(K) bits each (see packing.py). The length tells which it is: as
many bytes as packed codes take are packed codes, fewer are coded.

Short codes have no room for checks: most bytes are some plane's, so damage is
found by a checksum around them. Refused here is what no plane is coded to.
"""

from collections.abc import Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import packing
from soundstream_jax.codec.sstr.entropy import range_coder
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

# Planes coded at once: what a step touches stays in a core's cache.
_BATCH_PLANES = 4096


def encode_planes(
  planes: np.ndarray, layers: np.ndarray, tables: tables_lib.Tables
) -> list[bytes]:
  """Codes planes, each on its own.

  Args:
    planes: integers [P, F], each below the tables' codebook size.
    layers: integers [P], the layer whose table a plane is coded with.
    tables: of the model.

  Returns:
    P times bytes: `packed_bytes` where a plane is packed, fewer where it is
    coded.

  Raises:
    InputError: codes or layers out of range, or of another shape.
  """
  planes, layers = np.asarray(planes), np.asarray(layers)
  if planes.ndim != 2 or layers.shape != planes.shape[:1]:
    raise errors.InputError(
      f"planes of shape {planes.shape} and layers of shape {layers.shape} are "
      "not [P, F] and [P]."
    )
  _check_range("codes", planes, tables.codebook_size)
  _check_range("layers", layers, tables.num_quantizers)
  layers = layers.astype(np.int64)
  blobs = []
  for start in range(0, len(planes), _BATCH_PLANES):
    batch = slice(start, start + _BATCH_PLANES)
    blobs += _encode_batch(planes[batch], layers[batch], tables)
  return blobs


def decode_planes(
  blobs: Sequence[bytes],
  layers: np.ndarray,
  frames: int,
  tables: tables_lib.Tables,
) -> np.ndarray:
  """Inverse of `encode_planes`; takes memory for P * frames codes.

  Args:
    blobs: P times bytes.
    layers: integers [P].
    frames: F.
    tables: that the planes were coded with.

  Returns:
    int32 codes [P, F].

  Raises:
    InputError: bytes that no plane is coded to, or layers out of range.
  """
  layers = np.asarray(layers)
  if frames < 0 or layers.shape != (len(blobs),):
    raise errors.InputError(
      f"{len(blobs)} planes of {frames} frames and layers of shape "
      f"{layers.shape} are not [P, F] and [P]."
    )
  _check_range("layers", layers, tables.num_quantizers)
  layers = layers.astype(np.int64)
  size = packed_bytes(frames, tables)
  lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
  _refuse(lengths > size, layers, f"has more than {size} bytes")
  codes = np.empty((len(blobs), frames), np.int32)
  bad = np.zeros((len(blobs),), bool)
  packed = np.flatnonzero(lengths == size)
  data = _joined([blobs[i] for i in packed]).reshape(len(packed), size)
  codes[packed] = packing.unpack(data, frames, tables.code_bits)
  coded = np.flatnonzero(lengths < size)
  for start in range(0, len(coded), _BATCH_PLANES):
    batch = coded[start : start + _BATCH_PLANES]
    codes[batch], bad[batch] = _decode_batch(
      [blobs[i] for i in batch], lengths[batch], layers[batch], frames, tables
    )
  _refuse(bad, layers, f"is no {frames} codes: damaged, or of other tables")
  return codes


def packed_bytes(frames: int, tables: tables_lib.Tables) -> int:
  """Returns the bytes of a packed plane, the most that a plane takes."""
  return packing.plane_bytes(frames, tables.code_bits)


def _encode_batch(
  planes: np.ndarray, layers: np.ndarray, tables: tables_lib.Tables
) -> list[bytes]:
  data, used = range_coder.encode(planes, layers, tables)
  stride, together = data.shape[1], data.tobytes()
  blobs = [
    together[i * stride : i * stride + length]
    for i, length in enumerate(used.tolist())
  ]
  long = np.flatnonzero(used >= packed_bytes(planes.shape[1], tables))
  for i, packed in zip(
    long, packing.pack(planes[long], tables.code_bits), strict=True
  ):
    blobs[i] = packed.tobytes()
  return blobs


def _decode_batch(
  blobs: list[bytes],
  lengths: np.ndarray,
  layers: np.ndarray,
  frames: int,
  tables: tables_lib.Tables,
) -> tuple[np.ndarray, np.ndarray]:
  data = np.zeros((len(blobs), 2 * frames + 6), np.uint8)
  data[np.arange(data.shape[1]) < lengths[:, None]] = _joined(blobs)
  return range_coder.decode(data, lengths, layers, tables)


def _joined(blobs: list[bytes]) -> np.ndarray:
  return np.frombuffer(b"".join(blobs), np.uint8)


def _refuse(bad: np.ndarray, layers: np.ndarray, why: str) -> None:
  if bad.any():
    plane = int(np.argmax(bad))
    raise errors.InputError(f"plane {plane} (layer {layers[plane]}) {why}.")


def _check_range(name: str, values: np.ndarray, limit: int) -> None:
  if not np.issubdtype(values.dtype, np.integer):
    raise errors.InputError(f"{name} of type {values.dtype} are no integers.")
  if values.size and not 0 <= values.min() <= values.max() < limit:
    raise errors.InputError(
      f"{name} from {values.min()} to {values.max()} are not from 0 to "
      f"{limit - 1}, as the tables' are."
    )
