"""The format `hf`: a folder that transformers.EncodecModel opens.

SoundStream with the paper's ELU and quantizer is an EnCodec: the convolutions,
dilations and paddings are the same. EnCodec's LSTM is one layer of zeros, which
adds nothing (no layer is an error in PyTorch); its weight norm is the kernel
and its length; its last kernel of seven taps has four zeros in the encoder.

Exact for audio of whole frames. EnCodec fills the last frame with zeros before
every strided layer, the codec before the first one alone: of audio of another
length, the codes of the last frame may differ. Fill it with zeros first.

A bandwidth is that of one number of layers, as EnCodec computes it: with the
rate of frames rounded up to a whole number. `target_bandwidths[q - 1]` is the
one of q layers.

Candle opens the folder where quantizer.codebook_size is 1024 alone: it counts
the codebooks as if every code had 10 bits. It knows the names weight_g and
weight_v alone, which transformers reads, too.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import array_file, exported
from soundstream_jax.export import digests
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.torch import names as torch_names
from soundstream_jax.export.torch import runtime

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_EXTRACTOR = "preprocessor_config.json"

# EnCodec's last kernel, of encoder and decoder.
_LAST_TAPS = 7
# Shorter weights of an output have no direction in float32.
_SHORTEST = 1e-15

_CONSUMER = """\
import numpy as np
import torch
import transformers

golden = np.load("golden.npz")
model = transformers.EncodecModel.from_pretrained(".")
audio = torch.tensor(golden["audio"])[None, None]
found = model.encode(audio, bandwidth=model.config.target_bandwidths[-1])
codes = found.audio_codes  # [1, batch, layers, frames]
assert np.array_equal(codes[0, 0].T, golden["codes"])
with torch.no_grad():
  again = model.decode(codes, found.audio_scales).audio_values[0, 0]
assert np.abs(again.numpy() - golden["decoded"]).max() < 1e-5
"""


def refusal(
  config: config_lib.Config, options: format_lib.Options
) -> str | None:
  """Says why a model is no EncodecModel, and what would do; None if it is."""
  del options
  m, q = config.model, config.quantizer
  for name, value, wanted, why in (
    ("model.encoder", m.encoder, "learned", "has no mel filters"),
    ("model.activation", m.activation, "elu", "has ELU alone"),
    ("quantizer.kind", q.kind, "ema", "has no projections and no grid"),
    (
      "model.decoder_channels",
      m.decoder_channels,
      m.encoder_channels,
      "has as many as in the encoder",
    ),
  ):
    if value != wanted:
      return _refused(f"{name}={value}", why, f"{name}={wanted}")
  if m.film == "decoder":
    return _refused(
      "model.film=decoder",
      "has no switch, and in the decoder it cannot be folded into a layer: the "
      "zeros before the first frame come behind it",
      "model.film=encoder or none",
    )
  ratio, divisor = m.residual_hidden_ratio, _divisor(m.residual_hidden_ratio)
  widths = [m.encoder_channels * 2**i for i in range(len(m.strides))]
  if any(max(1, round(w * ratio)) != w // divisor for w in widths):
    return _refused(
      f"model.residual_hidden_ratio={ratio}",
      f"divides the widths of units, {widths}, by one whole number",
      "model.residual_hidden_ratio=1.0 or 0.5, of even channels",
    )
  return None


def _refused(found: str, why: str, fix: str) -> str:
  return (
    f"{found}: transformers.EncodecModel {why}. Train with {fix}, or use "
    "--format=torch or onnx."
  )


def files(
  model: exported.Exported, options: format_lib.Options
) -> Mapping[str, bytes]:
  """Returns the folder: two of JSON, and the weights."""
  from safetensors import numpy as safetensors

  state = _state_dict(model, denoise=options.denoise)
  extractor = {
    "feature_extractor_type": "EncodecFeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": model.config.audio.sample_rate_hz,
  }
  # "format" tells transformers that these are PyTorch's layouts.
  return {
    _CONFIG: _json(_encodec_config(model.config)),
    _EXTRACTOR: _json(extractor),
    _WEIGHTS: safetensors.save(state, metadata={"format": "pt"}),
  }


def _json(value: Any) -> bytes:
  return (json.dumps(value, indent=2) + "\n").encode()


def _encodec_config(config: config_lib.Config) -> dict[str, Any]:
  """Returns config.json: transformers' EncodecConfig."""
  m, q = config.model, config.quantizer
  return {
    "architectures": ["EncodecModel"],
    "model_type": "encodec",
    "dtype": "float32",
    "torch_dtype": "float32",  # its name before transformers 4.56
    "sampling_rate": config.audio.sample_rate_hz,
    "audio_channels": 1,
    "normalize": False,
    "hidden_size": m.embedding_dim,
    "num_filters": m.encoder_channels,
    "num_residual_layers": 3,
    "dilation_growth_rate": 3,
    "upsampling_ratios": list(reversed(m.strides)),
    "norm_type": "weight_norm",
    "kernel_size": 7,
    "last_kernel_size": _LAST_TAPS,
    "residual_kernel_size": m.residual_kernel,
    "compress": _divisor(m.residual_hidden_ratio),
    "use_causal_conv": True,
    "use_conv_shortcut": False,
    "pad_mode": "constant",
    "trim_right_ratio": 1.0,
    "num_lstm_layers": 1,
    "codebook_size": q.codebook_size,
    "codebook_dim": m.embedding_dim,
    "target_bandwidths": [
      _bandwidth(config, layers) for layers in range(1, q.num_quantizers + 1)
    ],
  }


def _divisor(ratio: float) -> int:
  return max(1, round(1 / ratio))


def _bandwidth(config: config_lib.Config, layers: int) -> float:
  """Returns the kbit/s from which EnCodec concludes a number of layers."""
  of_layer = config.rates.bits_per_code * math.ceil(config.rates.frame_rate_hz)
  kbps = layers * of_layer / 1000
  while 1000 * kbps // of_layer < layers:  # float64 rounds down
    kbps = math.nextafter(kbps, math.inf)
  return kbps


def _state_dict(
  model: exported.Exported, *, denoise: bool
) -> dict[str, np.ndarray]:
  config = model.config
  arrays = exported.flat(_folded(model, denoise=denoise))
  vectors = arrays.pop(torch_names.VECTORS)
  state = {}
  for path, array in arrays.items():
    if path == "params/encoder/output/kernel":
      # Zeros before the present taps: they meet the past that ours has not.
      before = _LAST_TAPS - len(array)
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


def _tensors(folder: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
  arrays, _ = array_file.load(folder / _WEIGHTS)
  return {_WEIGHTS: digests.of(arrays)}


def _open(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  return (_EnCodec(folder),)


class _EnCodec:
  """A `format.Runtime`: transformers.EncodecModel, on one thread."""

  name = "transformers"
  lossy = False
  blocks: tuple[int, ...] | None = None
  switches = False

  def __init__(self, folder: pathlib.Path):
    import transformers

    self.version = transformers.__version__
    self._model = transformers.EncodecModel.from_pretrained(
      folder, local_files_only=True
    ).eval()

  def encode(
    self, audio: np.ndarray, *, num_quantizers: int, denoise: bool = False
  ) -> np.ndarray:
    bandwidth = self._model.config.target_bandwidths[num_quantizers - 1]
    with runtime.one_thread() as torch:
      found = self._model.encode(
        torch.tensor(audio)[:, None], bandwidth=bandwidth
      )
    # [1, B, q, F]
    return found.audio_codes[0].numpy().transpose(0, 2, 1).astype(np.int32)

  def decode(self, codes: np.ndarray, *, denoise: bool = False) -> np.ndarray:
    codes = np.ascontiguousarray(codes.transpose(0, 2, 1)[None])
    with runtime.one_thread() as torch:
      found = self._model.decode(torch.tensor(codes).long(), [None])
    return found.audio_values[:, 0].numpy()

  def encode_stream(self, *arguments, **options):
    raise NotImplementedError("EncodecModel keeps no past: it has no streams.")

  decode_stream = encode_stream


FORMAT = format_lib.Format(
  about="a folder for transformers.EncodecModel.from_pretrained, and candle",
  packages=(),
  extra="",
  refusal=refusal,
  files=files,
  tensors=_tensors,
  runtimes={"transformers": _open},
  consumer=_CONSUMER,
)
