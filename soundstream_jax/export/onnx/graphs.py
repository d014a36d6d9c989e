"""The four graphs of a model: encode, decode, and the steps of their streams.

B clips or streams, T samples, F frames, q layers of codes; all may vary from
call to call, with q up to the model's Q. A stream's state is one array [B, S],
zeros at its start: what a step returns as `new_state` the next one takes.
"""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

import soundstream_jax
from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported, fingerprint
from soundstream_jax.export import trace
from soundstream_jax.export.onnx import codes as codes_lib
from soundstream_jax.export.onnx import concealment, graph, layers
from soundstream_jax.model import soundstream

# Of the meaning of inputs, outputs and metadata.
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """What the graphs are made of."""

  config: config_lib.Config
  fingerprint: str
  encoder: Sequence[trace.Step]
  decoder: Sequence[trace.Step]
  quantizer: codes_lib.Quantizer

  @classmethod
  def of(cls, model: exported.Exported) -> "Model":
    """Lets the model write itself down."""
    variables = soundstream.variables(model.params, model.vectors)
    return cls(
      model.config,
      fingerprint.compute(model.config, model.params, model.vectors).hex(),
      trace.encoder(model.config, variables),
      trace.decoder(model.config, variables),
      codes_lib.Quantizer.of(model.config, variables),
    )

  @property
  def hop(self) -> int:
    """Samples of a frame."""
    return self.config.rates.hop_samples

  @property
  def encoder_state(self) -> list[int]:
    """Sizes of the parts of S, of `encode_step`."""
    return layers.pasts(self.encoder)

  @property
  def decoder_state(self) -> list[int]:
    """Sizes of the parts of S, of `decode_step`."""
    return concealment.parts(self.quantizer.dim) + layers.pasts(self.decoder)

  def metadata(self) -> dict[str, str]:
    """Returns metadata_props: what a program asks of a file."""
    rates = self.config.rates
    return {
      "format_version": str(FORMAT_VERSION),
      "version": soundstream_jax.__version__,
      "sample_rate": str(rates.sample_rate_hz),
      "hop": str(rates.hop_samples),
      "num_quantizers": str(rates.num_quantizers),
      "codebook_size": str(rates.codebook_size),
      "film": self.config.model.film,
      "state": "zeros [B, S]",
      "encoder_state_size": str(sum(self.encoder_state)),
      "decoder_state_size": str(sum(self.decoder_state)),
      "fingerprint": self.fingerprint,
      "config": json.dumps(config_lib.to_dict(self.config)),
    }


def encode(model: Model) -> graph.Graph:
  """Audio [B, T], any T, and q [1] -> codes [B, F, q].

  The last frame is filled with zeros.
  """
  g = graph.Graph("encode")
  audio = g.input("audio", np.float32, ["B", "T"])
  q = g.input("num_quantizers", np.int64, [1])
  switch = _switch(g, model, "encoder")
  x = whole_frames(g, audio, model.hop)
  latents = layers.write(g, model.encoder, x, layers.Zeros(), switch)
  codes = codes_lib.quantize(g, model.quantizer, latents)
  codes = codes_lib.prefix(g, codes, q)
  g.output("codes", np.int32, ["B", "F", "q"], codes)
  return g


def decode(model: Model) -> graph.Graph:
  """Codes [B, F, q] -> audio [B, F * hop]."""
  g = graph.Graph("decode")
  codes = g.input("codes", np.int32, ["B", "F", "q"])
  switch = _switch(g, model, "decoder")
  latents = codes_lib.dequantize(g, model.quantizer, codes)
  x = channels_first(g, latents, model.quantizer.dim)
  audio = layers.write(g, model.decoder, x, layers.Zeros(), switch)
  g.output("audio", np.float32, ["B", "T"], g.reshape(audio, 0, -1))
  return g


def encode_step(model: Model) -> graph.Graph:
  """State, audio [B, F * hop] and q [1] -> new state, codes [B, F, q]."""
  g = graph.Graph("encode_step")
  sizes = model.encoder_state
  state = g.input("state", np.float32, ["B", sum(sizes)])
  audio = g.input("audio", np.float32, ["B", "T"])
  q = g.input("num_quantizers", np.int64, [1])
  switch = _switch(g, model, "encoder")
  past = layers.Kept(g, state, sizes)
  x = g.reshape(audio, 0, 1, 1, -1)
  latents = layers.write(g, model.encoder, x, past, switch)
  codes = codes_lib.quantize(g, model.quantizer, latents)
  codes = codes_lib.prefix(g, codes, q)
  g.output("new_state", np.float32, ["B", sum(sizes)], past.joined(g))
  g.output("codes", np.int32, ["B", "F", "q"], codes)
  return g


def decode_step(model: Model) -> graph.Graph:
  """State, codes [B, F, q] and layers [B, F] -> new state, audio [B, F * hop].

  Layers are how many of a frame's q arrived: fewer lower its bitrate, and 0 is
  a lost frame, which is concealed.
  """
  g = graph.Graph("decode_step")
  sizes = model.decoder_state
  state = g.input("state", np.float32, ["B", sum(sizes)])
  codes = g.input("codes", np.int32, ["B", "F", "q"])
  arrived = g.input("layers", np.int32, ["B", "F"])
  switch = _switch(g, model, "decoder")
  past = layers.Kept(g, state, sizes)
  latents = codes_lib.dequantize(g, model.quantizer, codes, arrived)
  latents, gain = concealment.fill(
    g,
    latents,
    arrived,
    past,
    frame_rate_hz=float(model.config.rates.frame_rate_hz),
    hop_samples=model.hop,
  )
  x = channels_first(g, latents, model.quantizer.dim)
  audio = layers.write(g, model.decoder, x, past, switch)
  audio = g.add("Mul", g.reshape(audio, 0, -1), gain)
  g.output("new_state", np.float32, ["B", sum(sizes)], past.joined(g))
  g.output("audio", np.float32, ["B", "T"], audio)
  return g


GRAPHS = {
  "encode": encode,
  "decode": decode,
  "encode_step": encode_step,
  "decode_step": decode_step,
}


def whole_frames(g: graph.Graph, audio: str, hop: int) -> str:
  """Audio [B, T] -> [B, 1, 1, T'], the last frame filled with zeros."""
  length = g.slice(g.add("Shape", audio), 0, 1)
  missing = g.add("Mod", g.add("Neg", length), g.constant([hop]))
  pads = g.add("Concat", g.constant([0, 0, 0]), missing, axis=0)
  return g.reshape(g.add("Pad", audio, pads), 0, 1, 1, -1)


def channels_first(g: graph.Graph, latents: str, dim: int) -> str:
  """Latents [B, F, D] -> [B, D, 1, F]."""
  latents = g.add("Transpose", latents, perm=[0, 2, 1])
  return g.reshape(latents, 0, dim, 1, -1)


def _switch(g: graph.Graph, model: Model, side: str) -> str | bool:
  """Declares the input that FiLM reads, on the side where there is one."""
  if model.config.model.film != side:
    return False
  return g.input("denoise", np.bool_, ["B"])
