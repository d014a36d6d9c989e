"""The format `torch`: model.py, which stands alone, and what it reads.

model.py lies here as `model.py.txt`, a text that is written as it is. Were it a
module of the package, importing all of it would need PyTorch, which few users
of ours have.
"""

import json
import pathlib
from collections.abc import Mapping

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import array_file, exported
from soundstream_jax.export import digests
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.torch import names, runtime

MODULE, CONFIG, WEIGHTS = "model.py", "config.json", "model.safetensors"
FORMAT_VERSION = 1

_CONSUMER = """\
import numpy as np
import torch

import model

golden = np.load("golden.npz")
codec = model.load(".")
codes = codec.encode(torch.tensor(golden["audio"])[None])[0]
assert np.array_equal(codes, golden["codes"])
audio = codec.decode(codes[None])[0]
assert np.abs(audio.numpy() - golden["decoded"]).max() < 1e-5
"""


def _files(
  model: exported.Exported, options: format_lib.Options
) -> Mapping[str, bytes]:
  """Returns the module, config.json and the weights."""
  from safetensors import numpy as safetensors

  about = {
    "format_version": FORMAT_VERSION,
    "step": model.step,
    "weights": model.weights,
    "fingerprint": exported.fingerprint_of(model).hex(),
    **options.notes,
    "config": config_lib.to_dict(model.config),
  }
  source = runtime.SOURCE
  return {
    MODULE: source.read_bytes(),
    CONFIG: (json.dumps(about, indent=2) + "\n").encode(),
    WEIGHTS: safetensors.save(names.to_torch(model)),
  }


def _tensors(folder: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
  arrays, _ = array_file.load(folder / WEIGHTS)
  return {WEIGHTS: digests.of(arrays)}


FORMAT = format_lib.Format(
  about="model.py, which needs torch and safetensors alone, and its weights",
  packages=(),
  extra="",
  files=_files,
  tensors=_tensors,
  runtimes={"torch": runtime.open_folder},
  consumer=_CONSUMER,
)
