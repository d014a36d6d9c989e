"""An exported model's file for runs that go on from it.

    FOLDER/training.safetensors   float32 arrays beside those of the model:

    raw/params/...      the generator's parameters as they are trained; of a
                        model of raw weights `ema/params/...`, the averaged ones
    codebooks/counts    moving averages that the codebooks are learnt from,
    codebooks/sums      [Q, K] and [Q, K, D]
    discriminators/...  parameters of each network; none of a run without

Its metadata has one entry, `about`: JSON with format_version; fingerprint, of
the model that it belongs to; and sha256, over all arrays as the second part of
a fingerprint is. Optimizer states are not in it. A codec never opens it.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from soundstream_jax import errors
from soundstream_jax.checkpoint import array_file, exported, fingerprint

NAME = "training.safetensors"
FORMAT_VERSION = 1
_ABOUT = "about"
# Kind of a model's weights -> the kind that it lacks.
OTHER = {"ema": "raw", "raw": "ema"}
STATISTICS = ("counts", "sums")


def to_bytes(
  model: exported.Exported,
  *,
  params: Mapping[str, Any],
  statistics: Mapping[str, Any],
  discriminators: Mapping[str, Any],
) -> bytes:
  """Returns the content of the file.

  Args:
    model: that it belongs to.
    params: the generator's, of the kind that the model lacks.
    statistics: `counts` and `sums` of the codebooks.
    discriminators: parameters by network.
  """
  from safetensors import numpy as safetensors

  tree = {
    OTHER[model.weights]: {"params": params},
    "codebooks": {name: statistics[name] for name in STATISTICS},
    "discriminators": discriminators,
  }
  flat = flax.traverse_util.flatten_dict(tree, sep="/")
  arrays = {name: np.asarray(array) for name, array in flat.items()}
  about = {
    "format_version": FORMAT_VERSION,
    "fingerprint": fingerprint.compute(
      model.config, model.params, model.vectors
    ).hex(),
    "sha256": _digest(arrays),
  }
  return safetensors.save(arrays, {_ABOUT: json.dumps(about)})


def read(folder: pathlib.Path, model: exported.Exported) -> dict[str, Any]:
  """Returns the arrays by their first name: kind, codebooks, discriminators.

  Args:
    folder: of an exported model.
    model: as it was read.

  Raises:
    InputError: a file that is damaged, of another version, or of another model.
  """
  path = pathlib.Path(folder) / NAME
  arrays, metadata = array_file.load(path)
  try:
    about = dict(json.loads(metadata[_ABOUT]))
  except (KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"{path} is not a file for training ({error}). Export the model again."
    ) from None
  version = about.get("format_version")
  if version != FORMAT_VERSION:
    raise errors.InputError(
      f"{path} has format version {version}; this version reads "
      f"{FORMAT_VERSION}. A newer soundstream_jax may read it."
    )
  expected = fingerprint.compute(model.config, model.params, model.vectors)
  if about.get("fingerprint") != expected.hex():
    raise errors.InputError(
      f"{path} belongs to the model {str(about.get('fingerprint'))[:12]}, "
      f"not to the {expected.hex()[:12]} beside it. Export the model again."
    )
  wide = all(array.dtype == np.float32 for array in arrays.values())
  if not wide or about.get("sha256") != _digest(arrays):
    raise errors.InputError(
      f"{path} was changed since it was written. Export the model again."
    )
  kind = OTHER[model.weights]
  params = flax.traverse_util.flatten_dict({"params": model.params}, sep="/")
  shapes = {f"{kind}/{name}": array.shape for name, array in params.items()}
  shapes["codebooks/counts"] = model.vectors.shape[:2]
  shapes["codebooks/sums"] = model.vectors.shape
  of_codec = {
    name: array
    for name, array in arrays.items()
    if not name.startswith("discriminators/")
  }
  array_file.check(path, of_codec, shapes)
  tree = flax.traverse_util.unflatten_dict(arrays, sep="/")
  return {
    "params": tree[kind]["params"],
    "statistics": tree["codebooks"],
    "discriminators": tree.get("discriminators", {}),
  }


def exists(folder: pathlib.Path) -> bool:
  return (pathlib.Path(folder) / NAME).is_file()


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
  digest = hashlib.sha256()
  fingerprint.update(digest, arrays)
  return digest.hexdigest()
