"""The format `web`: ONNX graphs under the names that transformers.js knows.

Its `MimiModel` encodes by a graph of `input_values` and decodes by one of
`audio_codes`, whatever is in them; it has no class of its own for SoundStream.
The label says which names tensors have, and nothing about the network.

    config.json, preprocessor_config.json
    onnx/encoder_model.onnx   input_values float32 [B, 1, T], any T
                              -> audio_codes int64 [B, Q, F]
    onnx/decoder_model.onnx   audio_codes int64 [B, q, F], any q
                              -> audio_values float32 [B, 1, F * hop]

FiLM's switch stands as it was written.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from soundstream_jax.checkpoint import exported
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.onnx import codes, graph, graphs, layers, runtime
from soundstream_jax.export.onnx import format as onnx_format

ENCODER = "onnx/encoder_model.onnx"
DECODER = "onnx/decoder_model.onnx"

CONSUMER = """\
import numpy as np
import onnxruntime

golden = np.load("golden.npz")
encoder = onnxruntime.InferenceSession("onnx/encoder_model.onnx")
decoder = onnxruntime.InferenceSession("onnx/decoder_model.onnx")
audio = golden["audio"][None, None]
codes = encoder.run(None, {"input_values": audio})[0]
decoded = decoder.run(None, {"audio_codes": codes})[0]
print((codes[0].T != golden["codes"]).sum(), "codes differ")
print(abs(decoded[0, 0] - golden["decoded"]).max(), "is the largest difference")
"""


def files(
  model: exported.Exported, options: format_lib.Options
) -> dict[str, bytes]:
  """Returns two graphs, and the two files of JSON that name their classes."""
  made = graphs.Model.of(model)
  metadata = made.metadata() | {"denoise": json.dumps(options.denoise)}
  rates = model.config.rates
  shared = {"sampling_rate": rates.sample_rate_hz}
  config = shared | {
    "model_type": "mimi",
    "architectures": ["MimiModel"],
    "codebook_size": rates.codebook_size,
    "num_quantizers": rates.num_quantizers,
    "frame_rate": float(rates.frame_rate_hz),
  }
  extractor = shared | {
    "feature_extractor_type": "EncodecFeatureExtractor",
    "feature_size": 1,
  }
  return {
    "config.json": _json(config),
    "preprocessor_config.json": _json(extractor),
    ENCODER: _encoder(made, options.denoise).model(metadata),
    DECODER: _decoder(made, options.denoise).model(metadata),
  }


def _encoder(model: graphs.Model, denoise: bool) -> graph.Graph:
  g = graph.Graph("encoder_model")
  audio = g.input("input_values", np.float32, ["B", 1, "T"])
  x = graphs.whole_frames(g, g.reshape(audio, 0, -1), model.hop)
  latents = layers.write(g, model.encoder, x, layers.Zeros(), denoise)
  found = codes.quantize(g, model.quantizer, latents)
  found = g.add("Transpose", found, perm=[1, 0, 2])
  shape = ["B", model.quantizer.num_layers, "F"]
  g.output("audio_codes", np.int64, shape, found)
  return g


def _decoder(model: graphs.Model, denoise: bool) -> graph.Graph:
  g = graph.Graph("decoder_model")
  given = g.input("audio_codes", np.int64, ["B", "q", "F"])
  given = g.add("Transpose", given, perm=[0, 2, 1])
  latents = codes.dequantize(g, model.quantizer, given)
  x = graphs.channels_first(g, latents, model.quantizer.dim)
  audio = layers.write(g, model.decoder, x, layers.Zeros(), denoise)
  audio = g.reshape(audio, 0, 1, -1)
  g.output("audio_values", np.float32, ["B", 1, "T"], audio)
  return g


@dataclasses.dataclass
class _Pair:
  """A `format.Runtime` of both graphs: whole clips, the switch as it stands."""

  encoder: Any
  decoder: Any
  version: str
  name: str = "onnxruntime of web"
  lossy: bool = False
  blocks: None = None
  switches: bool = False

  def encode(self, audio, *, num_quantizers, denoise=False):
    del denoise
    inputs = {"input_values": audio[:, None]}
    found = self.encoder.run(["audio_codes"], inputs)[0]
    return found[:, :num_quantizers].transpose(0, 2, 1).astype(np.int32)

  def decode(self, codes, *, denoise=False):
    del denoise
    inputs = {"audio_codes": codes.transpose(0, 2, 1).astype(np.int64)}
    return self.decoder.run(["audio_values"], inputs)[0][:, 0]


def _opened(folder: pathlib.Path) -> list[format_lib.Runtime]:
  encoder, decoder = (
    runtime.session(folder / name) for name in (ENCODER, DECODER)
  )
  return [_Pair(encoder, decoder, runtime.version())]


def _json(value: Any) -> bytes:
  return (json.dumps(value, indent=2) + "\n").encode()


FORMAT = format_lib.Format(
  about="the ONNX pair that transformers.js opens as a MimiModel",
  packages=("onnx",),
  extra="export-onnx",
  refusal=onnx_format.refusal,
  files=files,
  tensors=lambda folder: onnx_format.tensors(folder, [ENCODER, DECODER]),
  runtimes={"onnxruntime": _opened},
  consumer=CONSUMER,
  fixed_switch=True,
)
