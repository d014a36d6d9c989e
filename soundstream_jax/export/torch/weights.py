"""Weights as a file stores them: in a dtype, and what names their values."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from soundstream_jax.checkpoint import array_file, exported
from soundstream_jax.export import format as format_lib


def rounded(
  model: exported.Exported, options: format_lib.Options
) -> exported.Exported:
  """Returns a model whose float32 values are those that the file will have."""

  def stored(array: Any) -> np.ndarray:
    return np.asarray(array).astype(options.dtype).astype(np.float32)

  return dataclasses.replace(
    model,
    params=jax.tree.map(stored, model.params),
    vectors=stored(model.vectors),
  )


def hashes(path: pathlib.Path) -> Mapping[str, str]:
  """Returns tensor -> SHA-256 of its values, in hex, of a safetensors file.

  Raises:
    InputError: it is missing, damaged, or no such file.
  """
  arrays, _ = array_file.load(path)
  return {
    name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    for name, array in arrays.items()
  }
