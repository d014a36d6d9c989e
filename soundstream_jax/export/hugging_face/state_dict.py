"""The state dict of an EnCodec that computes what a model does.

EnCodec's LSTM is one layer of zeros, which adds nothing (no layer is an error
in PyTorch); its weight norm is the kernel and its length; of its last kernel of
seven taps, the first four are zeros in the encoder. Tensors are called weight_g
and weight_v: transformers reads these and newer names, candle these alone.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported
from soundstream_jax.export.torch import names as torch_names

# EnCodec's last kernel, of encoder and decoder.
LAST_TAPS = 7
# Shorter weights of an output have no direction in float32.
_SHORTEST = 1e-15


def make(model: exported.Exported, *, denoise: bool) -> dict[str, np.ndarray]:
  config = model.config
  arrays = exported.flat(_folded(model, denoise=denoise))
  vectors = arrays.pop(torch_names.VECTORS)
  state = {}
  for path, array in arrays.items():
    if path == "params/encoder/output/kernel":
      # Zeros before the present taps: they meet the past that ours has not.
      before = LAST_TAPS - len(array)
      array = np.pad(array, ((before, 0), (0, 0), (0, 0)))
    array = torch_names.transposed(path, array)
    found = names(path, config)
    both = _normed(array) if path.endswith("/kernel") else (array,)
    state |= dict(zip(found, both, strict=True))
  for layer, embed in enumerate(vectors):
    where = f"quantizer.layers.{layer}.codebook"
    state[f"{where}.embed"] = embed
    # Of training alone; one code each, so that the mean is the vector.
    state[f"{where}.embed_avg"] = embed
    state[f"{where}.cluster_size"] = np.ones(len(embed), np.float32)
    state[f"{where}.inited"] = np.ones(1, np.float32)
  return state | dict(_lstms(config))


def _folded(model: exported.Exported, *, denoise: bool) -> exported.Exported:
  """Returns the model without FiLM: its last convolution does it."""
  if model.config.model.film == "none":
    return model
  params = dict(model.params)
  film, encoder = params.pop("film"), dict(params["encoder"])
  scale, shift = (np.asarray(film[n])[int(denoise)] for n in ("scale", "shift"))
  output = encoder["output"]
  encoder["output"] = {
    "kernel": np.asarray(output["kernel"]) * scale,
    "bias": np.asarray(output["bias"]) * scale + shift,
  }
  params["encoder"] = encoder
  return dataclasses.replace(model, params=params)


def _normed(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns lengths [n, 1, 1] and directions [n, ...] of PyTorch's kernel.

  A row of zeros would be 0 / 0: it gets any direction, and the length zero.
  """
  wide = kernel.astype(np.float64)
  lengths = np.sqrt(np.square(wide).sum(axis=(1, 2), keepdims=True))
  directions = np.where(lengths < _SHORTEST, np.float32(1), kernel)
  return lengths.astype(np.float32), np.ascontiguousarray(directions)


def _lstms(config: config_lib.Config) -> Iterator[tuple[str, np.ndarray]]:
  """Yields EnCodec's LSTMs: zeros, which give zeros, added to their input."""
  stages = len(config.model.strides)
  width = config.model.encoder_channels * 2**stages
  for where in (f"encoder.layers.{5 * stages + 1}", "decoder.layers.1"):
    for side in ("ih", "hh"):
      for name, shape in (
        ("weight", (4 * width, width)),
        ("bias", (4 * width,)),
      ):
        yield f"{where}.lstm.{name}_{side}_l0", np.zeros(shape, np.float32)


def names(path: str, config: config_lib.Config) -> tuple[str, ...]:
  """Returns the names in EncodecModel of one of our paths.

  A kernel is two tensors, direction and length of each output's weights. FiLM's
  are those of the encoder's last layer, into which a switch that stands still is
  folded.
  """
  stages = len(config.model.strides)
  if path == "codebooks/vectors":
    return tuple(
      f"quantizer.layers.{i}.codebook.embed"
      for i in range(config.quantizer.num_quantizers)
    )
  if path.startswith("params/film"):
    last = "params/encoder/output"
    return names(f"{last}/kernel", config) + names(f"{last}/bias", config)
  _, side, *layers, kind = path.split("/")
  where = f"{side}.layers.{_layer(side, layers[0], stages)}"
  if len(layers) == 2:
    where += {"dilated": ".block.1", "pointwise": ".block.3"}[layers[1]]
  if kind == "bias":
    return (f"{where}.conv.bias",)
  return f"{where}.conv.weight_g", f"{where}.conv.weight_v"


def _layer(side: str, name: str, stages: int) -> int:
  """Returns the place of a layer among EnCodec's.

  Encoder: input; of each stage three units, an activation, the strided layer;
  LSTM, activation, output. Decoder: input, LSTM; of each stage an activation,
  the strided layer, three units; activation, output.
  """
  if name == "input":
    return 0
  if name == "output":
    return 5 * stages + 3
  stage, _, part = name.removeprefix("stage").partition("_")
  if part.startswith("unit"):
    within = int(part.removeprefix("unit")) + (1 if side == "encoder" else 4)
  else:
    within = 5 if side == "encoder" else 3
  return 5 * int(stage) + within
