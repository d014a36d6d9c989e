"""An exported model: two files in a folder, without optimizers or Orbax.

    FOLDER/model.safetensors   arrays: `params/...`, `codebooks/vectors`
    FOLDER/model.json          format version, configuration, step, weights,
                               fingerprint, dtype, tensors, notes

Beside them lies, on request, what a run needs to go on (see `training_file`).
Names and shapes of the arrays are those of the checkpoint, paths joined by "/".
They are float32, or float16, which is read as float32: then the model is the
rounded one, and the fingerprint is that of the rounded numbers. Reading runs no
code, and the fingerprint shows that nothing was changed.

`tensors` lists each array: path, shape, dtype, SHA-256 of its bytes in the file
(little-endian, C order), and what the writer knew of it beside, such as names in
other software. Version 1 has neither dtype, which is float32, nor tensors, nor
notes (on licence and data); it is read for ever.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import types
from collections.abc import Mapping, Sequence
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
FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
DTYPES = ("float32", "float16")
_NOTHING: Mapping[str, Any] = types.MappingProxyType({})
_VECTORS = "codebooks/vectors"


@dataclasses.dataclass(frozen=True)
class Exported:
  """A model that encodes and decodes."""

  config: config_lib.Config
  params: Mapping[str, Any]  # nested, float32
  vectors: np.ndarray  # float32 [Q, K, C]
  step: int
  weights: str  # 'ema' or 'raw'


def fingerprint_of(model: Exported) -> bytes:
  """Returns the 32 bytes that name a model; see `fingerprint`."""
  return fingerprint.compute(model.config, model.params, model.vectors)


def is_exported(folder: str | os.PathLike) -> bool:
  return (pathlib.Path(folder) / ABOUT).is_file()


def step_of(folder: str | os.PathLike) -> int:
  """Returns the step of a model that `read` takes."""
  return int(_about(pathlib.Path(folder) / ABOUT)["step"])


def write(
  folder: str | os.PathLike,
  model: Exported,
  *,
  beside: Mapping[str, bytes] = _NOTHING,
) -> int:
  """Writes a model's two files and returns their size in bytes.

  Args:
    folder: made where need be.
    model: to write.
    beside: as `to_files`' result, other files that belong to it.

  Raises:
    DiskError, InputError: as `write_files`.
  """
  files = to_files(model)
  write_files(folder, {**beside, **files}, last=(ARRAYS, ABOUT))
  return sum(map(len, files.values()))


def write_files(
  folder: str | os.PathLike,
  files: Mapping[str, bytes],
  *,
  last: Sequence[str],
) -> None:
  """Writes the files of an export; of several at once, the first one does.

  Args:
    folder: made where need be.
    files: path below the folder -> content.
    last: names among them that get theirs when all others have: a folder
      without them is none. Of two, both are on the disk before.

  Raises:
    InputError: the folder holds a model or a run already, or there can be
      none.
    DiskError: the disk cannot be written to.
  """
  folder = pathlib.Path(folder)
  check_free(folder, last)
  with errors.writing("the model", folder):
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock.waited_for(folder), contextlib.ExitStack() as stack:
      check_free(folder, last)
      for name, data in files.items():
        if name not in last:
          (folder / name).parent.mkdir(parents=True, exist_ok=True)
          whole_files.write(folder / name, data)
      for name in reversed(last):
        file = stack.enter_context(whole_files.opened(folder / name))
        file.write(files[name])
        file.flush()


def check_free(folder: str | os.PathLike, last: Sequence[str]) -> None:
  """Refuses a folder that holds something already.

  Args:
    folder: that is to be written.
    last: of `write_files`.

  Raises:
    InputError: it holds a run, or an export.
  """
  folder = pathlib.Path(folder)
  if (folder / "checkpoints").is_dir():
    # Whoever reads it would get this model for ever, not the newest step.
    raise errors.InputError(
      f"{folder} is the workdir of a run. Name another folder."
    )
  if is_exported(folder) or (folder / last[-1]).is_file():
    raise errors.InputError(
      f"{folder} holds an exported model already. Name another folder."
    )


def to_files(
  model: Exported,
  *,
  dtype: str = "float32",
  described: Mapping[str, Mapping[str, Any]] = _NOTHING,
  notes: Mapping[str, str] = _NOTHING,
) -> dict[str, bytes]:
  """Returns name -> content of a model's two files.

  Args:
    model: to write; of 'float16' its numbers are rounded already (`derived.rounded`).
    dtype: one of DTYPES, of the arrays in the file.
    described: path of an array -> what else is known of it.
    notes: on licence and data.
  """
  from safetensors import numpy as safetensors

  arrays = {
    name: np.ascontiguousarray(array, dtype)
    for name, array in flat(model).items()
  }
  about = {
    "format_version": FORMAT_VERSION,
    "step": model.step,
    "weights": model.weights,
    "fingerprint": fingerprint_of(model).hex(),
    "dtype": dtype,
    **notes,
    "config": config_lib.to_dict(model.config),
    "tensors": [
      {
        "path": name,
        "shape": list(array.shape),
        "dtype": dtype,
        **described.get(name, {}),
        "sha256": _digest(array),
      }
      for name, array in sorted(arrays.items())
    ],
  }
  text = json.dumps(about, indent=2) + "\n"
  return {ARRAYS: safetensors.save(arrays), ABOUT: text.encode()}


def flat(model: Exported) -> dict[str, np.ndarray]:
  """Returns a model's arrays by their paths."""
  arrays = flax.traverse_util.flatten_dict({"params": model.params}, sep="/")
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  arrays[_VECTORS] = np.asarray(model.vectors)
  return arrays


def _digest(array: np.ndarray) -> str:
  little = array.astype(array.dtype.newbyteorder("<"), copy=False)
  return hashlib.sha256(little.tobytes()).hexdigest()


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
    dtype = str(about.get("dtype", "float32"))
    sums = {t["path"]: t["sha256"] for t in about.get("tensors", ())}
  except (KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"{folder / ABOUT} is damaged ({error}). Export the model again."
    ) from None
  stored = _arrays(folder / ARRAYS, config, dtype)
  arrays = {name: array.astype(np.float32) for name, array in stored.items()}
  vectors = arrays.pop(_VECTORS)
  params = flax.traverse_util.unflatten_dict(arrays, sep="/")["params"]
  found = fingerprint.compute(config, params, vectors).hex()
  if found != expected:
    changed = sorted(n for n in sums if sums[n] != _digest(stored[n]))
    which = f"the array {changed[0]}" if changed else "one of its files"
    raise errors.InputError(
      f"{folder}: the fingerprint of its arrays is {found[:12]}, not the "
      f"{expected[:12]} of {ABOUT}: {which} was changed. Export the model "
      "again."
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
  if version not in READ_VERSIONS:
    known = " and ".join(map(str, READ_VERSIONS))
    raise errors.InputError(
      f"{path} has format version {version}; this version reads {known}. A "
      "newer soundstream_jax may read it."
    )
  return about


def _arrays(
  path: pathlib.Path, config: config_lib.Config, dtype: str
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
  array_file.check(path, arrays, shapes, dtype=dtype)
  return arrays
