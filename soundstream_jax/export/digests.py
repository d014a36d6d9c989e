"""SHA-256 of tensors, by which a changed one is named."""

import hashlib
from collections.abc import Mapping

import numpy as np


def of(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
  """Returns name -> SHA-256, in hex, of dtype, shape and little-endian bytes."""
  return {name: _of(np.asarray(array)) for name, array in arrays.items()}


def _of(array: np.ndarray) -> str:
  little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
  digest = hashlib.sha256(f"{array.dtype.name} {array.shape}\n".encode())
  digest.update(little.tobytes())
  return digest.hexdigest()
