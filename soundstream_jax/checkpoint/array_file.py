"""Arrays of a safetensors file: reading one runs no code."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np

from soundstream_jax import errors

_FIX = "Export the model again."


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Returns a file's arrays and its metadata.

  Raises:
    InputError: it is missing, damaged, or no such file.
  """
  import safetensors
  from safetensors import numpy as safetensors_numpy

  try:
    data = path.read_bytes()
    arrays = safetensors_numpy.load(data)
  except (OSError, safetensors.SafetensorError) as error:
    raise errors.InputError(
      f"{path} cannot be read ({error}). {_FIX}"
    ) from None
  # Eight bytes say how long the header is; it has been read once already.
  header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
  return arrays, header.get("__metadata__", {})


def check(
  path: pathlib.Path,
  arrays: Mapping[str, np.ndarray],
  shapes: Mapping[str, tuple[int, ...]],
  *,
  dtype: str = "float32",
) -> None:
  """Refuses arrays that are not those of a model, no more, no less.

  Args:
    path: where they were read, for the error.
    arrays: by name.
    shapes: that they must have.
    dtype: likewise, of all.

  Raises:
    InputError: with the first one that is missing, too many or another.
  """
  for name in sorted(shapes.keys() | arrays.keys()):
    found = arrays.get(name)
    wanted = shapes.get(name)
    if found is None or wanted is None:
      problem = "is missing" if found is None else "does not belong there"
      raise errors.InputError(f"{path}: the array {name} {problem}. {_FIX}")
    if found.shape != wanted or found.dtype != np.dtype(dtype):
      raise errors.InputError(
        f"{path}: {name} is {found.dtype} {found.shape}, not {dtype} {wanted}. "
        f"{_FIX}"
      )
