"""The generator: encoder, residual quantizer, decoder.

Letters used everywhere: B examples, T samples, F frames (T / hop), D embedding
dimension, Q quantizer layers, K codes per layer, R revival candidates. Audio is
[B, T, 1] in [-1, 1], latents [B, F, D], codes [B, F, Q], codebooks [Q, K, C], C
the dimension that codes are chosen in: D where quantizer.kind is 'ema'. Time is
axis 1, channels come last.
"""

import dataclasses
import math

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax import config as config_lib
from soundstream_jax import precision
from soundstream_jax.convolution import methods, receptive_field, signal
from soundstream_jax.model import (
  decoder,
  encoder,
  film,
  initialise,
  mel_encoder,
  quantizer,
  quantizers,
)

Array = jax.Array


@flax.struct.dataclass
class Output:
  audio: Array  # [B, T, 1], the parameters' precision
  latents: Array  # [B, F, D] before quantization
  codes: Array  # [B, F, Q] int32
  commitment: Array  # [Q]
  statistics: quantizer.Statistics | None


@dataclasses.dataclass(frozen=True)
class Context:
  """Frames of the past beyond which nothing changes an output frame."""

  encoder_frames: int
  decoder_frames: int


class SoundStream(nn.Module):
  """Paper section III, Fig. 3. Collections: `params` and `codebooks`."""

  model: config_lib.Model
  quantizer_config: config_lib.Quantizer
  method: signal.Method
  rematerialise: bool = False
  sample_rate_hz: int = 0  # of the mel encoder alone

  def setup(self):
    m, q = self.model, self.quantizer_config
    dtype = jnp.dtype(m.compute_dtype)
    shared = {
      "strides": m.strides,
      "residual_kernel": m.residual_kernel,
      "residual_hidden_ratio": m.residual_hidden_ratio,
      "activation": m.activation,
      "dtype": dtype,
      "rematerialise": self.rematerialise,
    }
    if m.encoder == "mel":
      self.encoder = mel_encoder.MelEncoder(
        sample_rate_hz=self.sample_rate_hz,
        hop_samples=math.prod(m.strides),
        embedding_dim=m.embedding_dim,
        dtype=dtype,
      )
    else:
      self.encoder = encoder.Encoder(
        channels=m.encoder_channels,
        embedding_dim=m.embedding_dim,
        input_gain=m.input_gain,
        **shared,
      )
    self.decoder = decoder.Decoder(channels=m.decoder_channels, **shared)
    self.quantizer = quantizer.ResidualQuantizer(
      quantizers.of(q),
      num_quantizers=q.num_quantizers,
      codebook_size=q.codebook_size,
      embedding_dim=m.embedding_dim,
      dtype=precision.of_parameters(dtype),
    )
    if m.film != "none":
      self.film = film.Film(dtype=dtype)

  def __call__(
    self,
    audio: Array,
    *,
    denoise: Array | None = None,
    bypass: Array | None = None,
    **quantizer_options,
  ) -> Output:
    """Encodes, quantizes and decodes audio [B, T, 1], T a multiple of the hop.

    Args:
      audio: waveform.
      denoise: bool [B] or [B, F] for FiLM; None is off.
      bypass: bool [B], whose latents the decoder gets unquantized; codes,
        commitment and statistics are those of all examples. None is none.
      **quantizer_options: of `quantizer.quantize`.
    """
    latents = self.encode(audio, denoise=denoise)
    quantized = self.quantizer(latents, **quantizer_options)
    heard = quantized.quantized
    if bypass is not None:
      heard = jnp.where(bypass[:, None, None], latents, heard)
    return Output(
      audio=self.decode(heard, denoise=denoise),
      latents=latents,
      codes=quantized.codes,
      commitment=quantized.commitment,
      statistics=quantized.statistics,
    )

  def encode(self, audio: Array, *, denoise: Array | None = None) -> Array:
    """[B, T, 1] -> latents [B, F, D] in the codebooks' precision."""
    x = signal.enter(
      audio,
      self.method,
      channels=self.encoder.channels,
      granule=math.prod(self.model.strides),
    )
    latents = self.encoder(x).leave()
    latents = self._condition(latents, denoise, "encoder")
    return latents.astype(self.quantizer.dtype)

  def quantize(
    self, latents: Array, *, num_quantizers: int | None = None
  ) -> quantizer.QuantizerOutput:
    """Quantizes with the first `num_quantizers` layers (default: all)."""
    if num_quantizers is None:
      return self.quantizer(latents)
    return self.quantizer.prefix(latents, num_quantizers)

  def dequantize(self, codes: Array, *, depth: Array | None = None) -> Array:
    """Codes [B, F, q] of the first q layers -> latents [B, F, D].

    Args:
      codes: int32.
      depth: int32 scalar, of how many layers alone; None is all q.
    """
    return self.quantizer.dequantize(codes, depth=depth)

  def stream_encode(
    self, audio: Array, *, num_quantizers: int | None, denoise: Array
  ) -> Array:
    """Continues streams: audio [B, F * hop, 1] -> codes [B, F, q].

    With method=stream.Stream(); its collections are the state.
    """
    latents = self.encode(audio, denoise=denoise)
    return self.quantizer.stream_codes(latents, num_quantizers)

  def stream_latents(self, codes: Array, layers: Array) -> Array:
    """Codes [B, F, q], the first layers [B, F] of which count -> latents."""
    return self.quantizer.stream_latents(codes, layers)

  def decode(self, latents: Array, *, denoise: Array | None = None) -> Array:
    """Latents [B, F, D] -> audio [B, T, 1] in the codebooks' precision."""
    latents = self._condition(latents, denoise, "decoder")
    channels = self.model.decoder_channels * 2 ** len(self.model.strides)
    x = signal.enter(latents, self.method, channels=channels, granule=1)
    return self.decoder(x).leave().astype(self.quantizer.dtype)

  def _condition(self, x: Array, denoise: Array | None, side: str) -> Array:
    if self.model.film != side:
      return x
    if denoise is None:
      denoise = jnp.zeros((x.shape[0],), jnp.bool_)
    return self.film(x, denoise)


def from_config(
  config: config_lib.Config,
  *,
  platform: str | None = None,
  method: signal.Method | None = None,
  dtype: str | None = None,
) -> SoundStream:
  """Returns the generator that a configuration describes.

  Args:
    platform: 'cpu', 'gpu' or 'tpu', what config.form='auto' is for; None is
      the default device's.
    method: instead of that of config.form.
    dtype: of convolutions; None is the codec's, model.compute_dtype.
  """
  model = config.model
  if dtype is not None:
    model = dataclasses.replace(model, compute_dtype=dtype)
  return SoundStream(
    model,
    config.quantizer,
    method=method or methods.choose(config.form, platform),
    rematerialise=config.rematerialise,
    sample_rate_hz=(
      config.audio.sample_rate_hz if config.model.encoder == "mel" else 0
    ),
  )


def variables(params: dict, vectors: Array) -> dict:
  """Returns what `apply` takes: params and codebook vectors [Q, K, C]."""
  return {"params": params, "codebooks": {"quantizer": {"vectors": vectors}}}


def vectors(variables: dict) -> Array:
  """Returns the codebooks [Q, K, C] of what `variables` returned."""
  return variables["codebooks"]["quantizer"]["vectors"]


def declare(config: config_lib.Config) -> dict:
  """Returns `params` as shapes with distributions (see `initialise`)."""
  audio = jax.ShapeDtypeStruct((1, config.rates.hop_samples, 1), jnp.float32)
  return jax.eval_shape(from_config(config).init, jax.random.key(0), audio)[
    "params"
  ]


def init(config: config_lib.Config, key: Array) -> dict:
  """Returns fresh `params`, numpy; codebooks start in `codebook.zeros`."""
  return initialise.draw(declare(config), key)


def context(config: config_lib.Config) -> Context:
  """Returns the frames of the past that an output depends on, rounded up."""
  net = from_config(dataclasses.replace(config, rematerialise=False))
  hop = config.rates.hop_samples

  def encoder_past(x):
    return net.apply({}, x, method=lambda net, x: net.encoder(x))

  def decoder_past(x):
    return net.apply({}, x, method=lambda net, x: net.decoder(x))

  def frames(network, step):
    samples = receptive_field.past_samples(network, samples_per_value=step)
    return -(-samples // hop) + 1

  return Context(
    encoder_frames=frames(encoder_past, 1),
    decoder_frames=frames(decoder_past, hop),
  )
