"""The way back: a state dict of model.py becomes a model of ours."""

import json
import pathlib
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.export.torch import format as torch_format
from soundstream_jax.export.torch import names

# How torch.save begins: a zip file, or a bare pickle.
_PICKLES = (b"PK\x03\x04", b"\x80")
_SAVE = "safetensors.torch.save_file(codec.state_dict(), 'model.safetensors')"


def read(folder: pathlib.Path, weights_file: pathlib.Path) -> exported.Exported:
  """Reads config.json of a folder, and a state dict.

  Args:
    folder: of the format `torch`.
    weights_file: safetensors.

  Raises:
    InputError: a file that is missing, damaged, of another version or PyTorch's
      pickle; or a tensor that does not fit, by its name.
  """
  path = folder / torch_format.CONFIG
  about = _about(path)
  try:
    config = config_lib.from_dict(about["config"])
    step, weights = int(about["step"]), str(about["weights"])
  except (KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"{path} is damaged ({error!r}). Take that of the export."
    ) from None
  state = _state(weights_file)
  try:
    params, vectors = names.from_torch(state, config)
  except errors.InputError as error:
    raise errors.InputError(f"{weights_file}: {error}") from None
  return exported.Exported(config, params, vectors, step=step, weights=weights)


def _about(path: pathlib.Path) -> dict[str, Any]:
  with errors.reading(str(path)):
    data = path.read_bytes()
  try:
    about = json.loads(data)
    version = about["format_version"]
  except (ValueError, KeyError, TypeError) as error:
    raise errors.InputError(
      f"{path} is not that of an exported folder ({error!r}). Write one with "
      "soundstream export --format=torch."
    ) from None
  if version != torch_format.FORMAT_VERSION:
    raise errors.InputError(
      f"{path} has format version {version}; this version reads "
      f"{torch_format.FORMAT_VERSION}. A newer soundstream_jax may read it."
    )
  return about


def _state(path: pathlib.Path) -> dict[str, np.ndarray]:
  import safetensors
  from safetensors import numpy as safetensors_numpy

  with errors.reading(str(path)):
    data = path.read_bytes()
  if data.startswith(_PICKLES):
    raise errors.InputError(
      f"{path} is a pickle of PyTorch, which can run code when it is read. "
      f"Save the state dict as safetensors: {_SAVE}."
    )
  try:
    return safetensors_numpy.load(data)
  except (safetensors.SafetensorError, KeyError, TypeError) as error:
    raise errors.InputError(
      f"{path} cannot be read as safetensors ({error!r}). Save it, as float32, "
      f"with {_SAVE}."
    ) from None
