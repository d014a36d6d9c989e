"""An exported model: a folder of two files, without optimizers or Orbax.

    FOLDER/model.safetensors   float32 arrays: `params/...`, `codebooks/vectors`
    FOLDER/model.json          format version, configuration, step, weights,
                               fingerprint

Beside them lies, on request, what a run needs to go on (see `training_file`).
Names and shapes of the arrays are those of the checkpoint, paths joined by "/".
Reading runs no code, and the fingerprint shows that nothing was changed.
"""

import dataclasses
import json
import os
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import errors, folder_lock, whole_files
from soundstream_jax.checkpoint import array_file, fingerprint
from soundstream_jax.devices import backend
from soundstream_jax.model import quantizers, soundstream

ARRAYS = "model.safetensors"
ABOUT = "model.json"
FORMAT_VERSION = 1
_VECTORS = "codebooks/vectors"


@dataclasses.dataclass(frozen=True)
class Exported:
  """A model that encodes and decodes."""

  config: config_lib.Config
  params: Mapping[str, Any]  # nested, float32
  vectors: np.ndarray  # float32 [Q, K, C]
  step: int
  weights: str  # 'ema' or 'raw'


def is_exported(folder: str | os.PathLike) -> bool:
  return (pathlib.Path(folder) / ABOUT).is_file()


def step_of(folder: str | os.PathLike) -> int:
  """Returns the step of a model that `read` takes."""
  return int(_about(pathlib.Path(folder) / ABOUT)["step"])


def write(
  folder: str | os.PathLike,
  model: Exported,
  *,
  beside: Mapping[str, bytes] = types.MappingProxyType({}),
) -> int:
  """Writes a model's two files and returns their size in bytes.

  model.json comes last, so a folder without it is not a model. Of several
  that write one folder at once, the first one does.

  Args:
    folder: made where need be.
    model: to write.
    beside: path below the folder -> content of other files that belong to it.

  Raises:
    InputError: the folder holds a model or a run already, or there can be
      none.
    DiskError: the disk cannot be written to.
  """
  folder = pathlib.Path(folder)
  if (folder / "checkpoints").is_dir():
    # Whoever reads it would get this model for ever, not the newest step.
    raise errors.InputError(
      f"{folder} is the workdir of a run. Name another folder."
    )
  arrays, about = _to_bytes(model)
  with errors.writing("the model", folder):
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock.waited_for(folder):
      if is_exported(folder):
        raise errors.InputError(
          f"{folder} holds an exported model already. Name another folder."
        )
      for name, data in beside.items():
        (folder / name).parent.mkdir(exist_ok=True)
        whole_files.write(folder / name, data)
      # Both are on the disk before the first gets its name.
      with (
        whole_files.opened(folder / ABOUT) as last,
        whole_files.opened(folder / ARRAYS) as first,
      ):
        first.write(arrays)
        last.write(about)
        last.flush()
  return len(arrays) + len(about)


def _to_bytes(model: Exported) -> tuple[bytes, bytes]:
  """Returns the content of ARRAYS and of ABOUT."""
  from safetensors import numpy as safetensors

  arrays = flax.traverse_util.flatten_dict({"params": model.params}, sep="/")
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  arrays[_VECTORS] = np.asarray(model.vectors)
  about = {
    "format_version": FORMAT_VERSION,
    "step": model.step,
    "weights": model.weights,
    "fingerprint": fingerprint.compute(
      model.config, model.params, model.vectors
    ).hex(),
    "config": config_lib.to_dict(model.config),
  }
  text = json.dumps(about, indent=2) + "\n"
  return safetensors.save(arrays), text.encode()


def read(
  folder: str | os.PathLike,
  *,
  step: int | str | None = None,
  weights: str | None = None,
) -> Exported:
  """Reads a model and checks it against its fingerprint.

  Args:
    folder: of `write`.
    step: that it must be of; None is any.
    weights: likewise.

  Raises:
    InputError: a file that is missing, damaged, or of another version; a model
      of another step or other weights; or no device of the kind that jax is
      told to use.
  """
  backend.check()
  folder = pathlib.Path(folder)
  about = _about(folder / ABOUT)
  try:
    config = config_lib.from_dict(about["config"])
    kept = int(about["step"]), str(about["weights"])
    expected = str(about["fingerprint"])
  except (KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"{folder / ABOUT} is damaged ({error}). Export the model again."
    ) from None
  arrays = _arrays(folder / ARRAYS, config)
  vectors = arrays.pop(_VECTORS)
  params = flax.traverse_util.unflatten_dict(arrays, sep="/")["params"]
  found = fingerprint.compute(config, params, vectors).hex()
  if found != expected:
    raise errors.InputError(
      f"{folder}: the fingerprint of its arrays is {found[:12]}, not the "
      f"{expected[:12]} of {ABOUT}: one of its files was changed. Export the "
      "model again."
    )
  model = Exported(config, params, vectors, *kept)
  for name, asked, has in (
    ("step", step, model.step),
    ("weights", weights, model.weights),
  ):
    if asked not in (None, has):
      raise errors.InputError(
        f"{folder} is an exported model of {name}={has}, not {asked}. Give the "
        "workdir of its run."
      )
  return model


def _about(path: pathlib.Path) -> dict[str, Any]:
  try:
    about = json.loads(path.read_text())
    version = about["format_version"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise errors.InputError(
      f"{path} cannot be read ({error}). Export the model again."
    ) from None
  if version != FORMAT_VERSION:
    raise errors.InputError(
      f"{path} has format version {version}; this version reads "
      f"{FORMAT_VERSION}. A newer soundstream_jax may read it."
    )
  return about


def _arrays(
  path: pathlib.Path, config: config_lib.Config
) -> dict[str, np.ndarray]:
  """Reads the arrays that the configuration's model has, no more, no less."""
  params = nn.meta.unbox(soundstream.declare(config))
  shapes = {
    name: leaf.shape
    for name, leaf in flax.traverse_util.flatten_dict(
      {"params": params}, sep="/"
    ).items()
  }
  shapes[_VECTORS] = quantizers.codebooks_shape(config)
  arrays, _ = array_file.load(path)
  array_file.check(path, arrays, shapes)
  return arrays
