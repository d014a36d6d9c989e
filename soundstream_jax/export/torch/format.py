"""The format `torch`: model.py, which stands alone, and what it reads.

model.py lies here as `model.py.txt`, a text that is written as it is. Were it a
module of the package, importing all of it would need PyTorch, which few users
of ours have.
"""

import json
import pathlib
from collections.abc import Mapping

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported, fingerprint
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.torch import names, runtime, weights

MODULE, CONFIG, WEIGHTS = "model.py", "config.json", "model.safetensors"
FORMAT_VERSION = 1

CONSUMER = """
import numpy as np
import torch

import model

golden = np.load("golden.npz")
codec = model.load(".")
codes = codec.encode(torch.from_numpy(golden["audio"]))
audio = codec.decode(codes)
print("codes equal:", np.array_equal(codes, golden["codes"]))
print("audio within:", np.abs(audio.numpy() - golden["decoded"]).max())
""".lstrip()


def refusal(
  config: config_lib.Config, options: format_lib.Options
) -> str | None:
  """Says why a model cannot become PyTorch's; None if it can."""
  del options
  dtype = config.model.compute_dtype
  if dtype == "float32":
    return None
  return (
    f"model.compute_dtype={dtype}: model.py computes in float32, which gives "
    "other codes. Train with model.compute_dtype=float32, or use "
    "--format=params."
  )


def files(
  model: exported.Exported, options: format_lib.Options
) -> Mapping[str, bytes]:
  """Returns the module, config.json and the weights."""
  from safetensors import numpy as safetensors

  model = weights.rounded(model, options)
  about = {
    "format_version": FORMAT_VERSION,
    "step": model.step,
    "weights": model.weights,
    "dtype": options.dtype,
    "fingerprint": fingerprint.compute(
      model.config, model.params, model.vectors
    ).hex(),
    "config": config_lib.to_dict(model.config),
  }
  state = {
    name: array.astype(options.dtype)
    for name, array in names.to_torch(model).items()
  }
  source = pathlib.Path(__file__).with_name(f"{MODULE}.txt")
  return {
    MODULE: source.read_bytes(),
    CONFIG: (json.dumps(about, indent=2) + "\n").encode(),
    WEIGHTS: safetensors.save(state),
  }


def tensors(folder: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
  return {WEIGHTS: weights.hashes(folder / WEIGHTS)}


FORMAT = format_lib.Format(
  about="model.py, which needs torch and safetensors alone, and its weights",
  packages=(),
  extra="",
  refusal=refusal,
  files=files,
  tensors=tensors,
  runtimes={"torch": runtime.open_folder},
  consumer=CONSUMER,
)
