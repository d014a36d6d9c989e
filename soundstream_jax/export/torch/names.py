"""Names and layouts of parameters in PyTorch's state dict, and the way back.

A name is that of our path with stages and units as lists:
`params/encoder/stage0_unit1/dilated/kernel` is
`encoder.stages.0.units.1.dilated.weight`. PyTorch's layouts of kernels are
[out, in, k], and [in, out, k] of a transposed convolution; all else lies as
ours does.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.model import quantizers, soundstream

VECTORS = "codebooks/vectors"
# Axis i of PyTorch's kernel is our axis of this number.
_CONV, _TRANSPOSED = (2, 1, 0), (1, 2, 0)
_FIX = "Give the state dict of the model.py that belongs to this config.json"


def of(path: str) -> str:
  """Returns the name in the state dict of one of our paths."""
  if path == VECTORS:
    return "quantizer.vectors"
  path = re.sub(r"stage(\d+)_unit(\d+)", r"stages/\1/units/\2", path)
  path = re.sub(r"stage(\d+)_", r"stages/\1/", path)
  path = re.sub(r"_snake/alpha$", "_activation/alpha", path)
  path = re.sub(r"/kernel$", "/weight", path)
  return path.removeprefix("params/").replace("/", ".")


def shapes(config: config_lib.Config) -> dict[str, tuple[int, ...]]:
  """Returns our path -> our shape of every tensor of a configuration's model."""
  declared = nn.meta.unbox(soundstream.declare(config))
  leaves = flax.traverse_util.flatten_dict({"params": declared}, sep="/")
  found = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
  found[VECTORS] = quantizers.codebooks_shape(config)
  return found


def to_torch(model: exported.Exported) -> dict[str, np.ndarray]:
  """Returns the state dict, in PyTorch's layouts."""
  return {
    of(path): transposed(path, array)
    for path, array in exported.flat(model).items()
  }


def transposed(path: str, array: np.ndarray) -> np.ndarray:
  """Returns an array of ours in PyTorch's layout."""
  return np.ascontiguousarray(array.transpose(_axes(path, array.ndim)))


def from_torch(
  state: Mapping[str, np.ndarray], config: config_lib.Config
) -> tuple[dict[str, Any], np.ndarray]:
  """Returns params and codebook vectors of a state dict, float32.

  Args:
    state: of `to_torch`, or of a trained `model.py`: floats of any width.
    config: of the model.

  Raises:
    InputError: a tensor that is missing, too many, of another shape, or not of
      finite floats.
  """
  wanted = {of(path): (path, shape) for path, shape in shapes(config).items()}
  found = {}
  for name in sorted(wanted.keys() | state.keys()):
    if name not in state:
      raise errors.InputError(f"the tensor {name} is missing. {_FIX}.")
    if name not in wanted:
      raise errors.InputError(
        f"the tensor {name} belongs to no part of this model. {_FIX}."
      )
    path, shape = wanted[name]
    axes = _axes(path, len(shape))
    theirs = tuple(shape[axis] for axis in axes)
    array = np.asarray(state[name])
    if array.shape != theirs:
      raise errors.InputError(
        f"the tensor {name} has shape {array.shape}, not {theirs}. {_FIX}."
      )
    if array.dtype.kind != "f" or not np.isfinite(array).all():
      raise errors.InputError(
        f"the tensor {name} is {array.dtype} and must be of finite floats. "
        f"{_FIX}."
      )
    ours = array.astype(np.float32).transpose(np.argsort(axes))
    found[path] = np.ascontiguousarray(ours)
  vectors = found.pop(VECTORS)
  return flax.traverse_util.unflatten_dict(found, sep="/")["params"], vectors


def _axes(path: str, axes: int) -> tuple[int, ...]:
  """Returns which of our axes PyTorch's are, one after the other."""
  if not path.endswith("/kernel"):
    return tuple(range(axes))
  return _TRANSPOSED if path.endswith("_up/kernel") else _CONV
