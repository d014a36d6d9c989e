"""The format `hf`: a folder that transformers.EncodecModel opens.

SoundStream with the paper's ELU and quantizer is an EnCodec: the convolutions,
dilations and paddings are the same. So are the codes, and the audio to float
rounding.

Exact for audio of whole frames. EnCodec fills the last frame with zeros before
every strided layer, the codec before the first one alone: of audio of another
length, the codes of the last frame may differ. Fill it with zeros first.

A bandwidth is that of one number of layers, as EnCodec computes it: with the
rate of frames rounded up to a whole number. `target_bandwidths[q - 1]` is the
one of q layers.

Candle opens the folder where quantizer.codebook_size is 1024 alone: it counts
the codebooks as if every code had 10 bits.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import array_file, exported
from soundstream_jax.export import digests
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.hugging_face import runtime, state_dict

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_EXTRACTOR = "preprocessor_config.json"

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
      "has one width for both sides",
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


def _files(
  model: exported.Exported, options: format_lib.Options
) -> Mapping[str, bytes]:
  """Returns the folder: two of JSON, and the weights."""
  from safetensors import numpy as safetensors

  state = state_dict.make(model, denoise=options.denoise)
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
    "last_kernel_size": state_dict.LAST_TAPS,
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


def _tensors(folder: pathlib.Path) -> Mapping[str, Mapping[str, str]]:
  arrays, _ = array_file.load(folder / _WEIGHTS)
  return {_WEIGHTS: digests.of(arrays)}


FORMAT = format_lib.Format(
  about="a folder for transformers.EncodecModel.from_pretrained, and candle",
  packages=(),
  extra="",
  refusal=refusal,
  files=_files,
  tensors=_tensors,
  runtimes={"transformers": runtime.open_folder},
  consumer=_CONSUMER,
  fixed_switch=True,
)
