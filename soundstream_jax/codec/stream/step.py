"""The compiled step of a stream: encodes or decodes one block of frames.

Pure functions of (variables, state, a block), which return (state, result). The
state is what each convolution needs of the past and, to decode, what lost
frames are filled with (see `concealment`); it is zeros at the start of a
stream. Nothing else in the codec calls the network.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import config as config_lib
from soundstream_jax.codec.stream import concealment
from soundstream_jax.codec.stream import state as state_lib
from soundstream_jax.convolution.stream import method as stream
from soundstream_jax.devices import xla_flags
from soundstream_jax.model import soundstream

Array = jax.Array


def network(config: config_lib.Config) -> nn.Module:
  """Returns the network of a configuration in its streaming form."""
  config = dataclasses.replace(config, rematerialise=False)
  return soundstream.from_config(config, method=stream.Stream())


# Kept, so that streams which are alike compile once. The state is donated: each
# step writes over the last one's.
@functools.cache
def compile_encoder(net: nn.Module, num_quantizers: int) -> Callable:
  """Returns (variables, state, audio, denoise) -> (state, codes), compiled.

  Args:
    net: of `network`.
    num_quantizers: q of the codes.
  """
  return _compile(functools.partial(encode_step, net, num_quantizers))


@functools.cache
def compile_decoder(net: nn.Module, frame_rate_hz: float) -> Callable:
  """Returns (variables, state, items, denoise) -> (state, audio), compiled.

  Items are int32 [B, F, 1 + q]: how many of a frame's layers arrived, and its
  codes.

  Args:
    net: of `network`.
    frame_rate_hz: of the model.
  """

  def step(variables, state, items, denoise):
    layers, codes = items[..., 0], items[..., 1:]
    return decode_step(
      net, frame_rate_hz, variables, state, codes, layers, denoise
    )

  return _compile(step)


def prepare(
  net: nn.Module, variables: dict, *, side: str, streams: int, block_frames: int
) -> tuple[state_lib.Variables, state_lib.State]:
  """Returns what the steps of one side take: variables, and a new state.

  Args:
    net: of `network`.
    variables: of `soundstream.variables`.
    side: 'encoder' or 'decoder'.
    streams: B.
    block_frames: F of a block.
  """
  make = _preparation(net, side, streams, block_frames)
  prepared, state = make(variables)
  # Those of convolutions are in what was prepared.
  read = ("film", "quantizer")
  params = {k: v for k, v in variables["params"].items() if k in read}
  kept = {**variables, "params": params, "prepared": prepared}
  return state_lib.Variables.of(kept), state


def encode_step(
  net: nn.Module,
  num_quantizers: int,
  variables: state_lib.Variables,
  state: state_lib.State,
  audio: Array,
  denoise: Array,
) -> tuple[state_lib.State, Array]:
  """Encodes the next block of B streams.

  Args:
    net: of `network`.
    num_quantizers: q, of the bitrate.
    variables: of `prepare`.
    state: of `prepare`, or of the step before.
    audio: float32 [B, F * hop].
    denoise: bool [B].

  Returns:
    The new state, and codes int32 [B, F, q].
  """
  codes, changed = _apply(
    net,
    variables.tree() | {"stream": state_lib.unpack(state)},
    audio[..., None],
    method="stream_encode",
    num_quantizers=num_quantizers,
    denoise=denoise,
    mutable=["stream"],
  )
  return state_lib.pack(changed["stream"]), codes


def decode_step(
  net: nn.Module,
  frame_rate_hz: float,
  variables: state_lib.Variables,
  state: state_lib.State,
  codes: Array,
  layers: Array,
  denoise: Array,
) -> tuple[state_lib.State, Array]:
  """Decodes the next block of B streams, and conceals what was lost.

  Args:
    net: of `network`.
    frame_rate_hz: of the model.
    variables: of `prepare`.
    state: of `prepare`, or of the step before.
    codes: int32 [B, F, q], of the first q layers.
    layers: int32 [B, F], how many of a frame's layers arrived: fewer than q
      lower its bitrate, 0 is a lost frame.
    denoise: bool [B].

  Returns:
    The new state, and audio float32 [B, F * hop].
  """
  variables = variables.tree()
  past, gap = state_lib.unpack(state)
  latents = _apply(net, variables, codes, layers, method="stream_latents")
  gap, latents, faded = concealment.fill(
    gap, latents, layers > 0, frame_rate_hz=frame_rate_hz
  )
  audio, changed = _apply(
    net,
    variables | {"stream": past},
    latents,
    method="decode",
    denoise=denoise,
    mutable=["stream"],
  )
  audio = audio[..., 0].astype(jnp.float32)
  gain = concealment.gain(faded, audio.shape[1] // codes.shape[1])
  return state_lib.pack((changed["stream"], gap)), audio * gain


# Kept, so that streams which are alike compile once.
@functools.cache
def _preparation(
  net: nn.Module, side: str, streams: int, block_frames: int
) -> Callable:
  """Returns variables -> (what layers compute of them once, a new state)."""
  first = {
    "denoise": jnp.zeros((streams,), jnp.bool_),
    "mutable": ["stream", "prepared"],
  }

  def encoder(variables):
    samples = block_frames * math.prod(net.model.strides)
    audio = jnp.zeros((streams, samples, 1), jnp.float32)
    _, made = _apply(
      net,
      variables,
      audio,
      method="stream_encode",
      num_quantizers=None,
      **first,
    )
    return made["prepared"], state_lib.reset(state_lib.pack(made["stream"]))

  def decoder(variables):
    shape = (streams, block_frames, net.model.embedding_dim)
    latents = jnp.zeros(shape, jnp.float32)
    _, made = _apply(net, variables, latents, method="decode", **first)
    state = made["stream"], concealment.start(latents)
    prepared = _table(net, variables) | made["prepared"]
    return prepared, state_lib.reset(state_lib.pack(state))

  make = {"encoder": encoder, "decoder": decoder}[side]
  return jax.jit(make, donate_argnums=())


def _table(net: nn.Module, variables: dict) -> dict:
  """Returns what looking up codes takes beside the codebooks, if anything."""
  none = jnp.zeros((1, 1, 1), jnp.int32)
  _, made = _apply(
    net,
    variables,
    none,
    none[..., 0],
    method="stream_latents",
    mutable=["prepared"],
  )
  return dict(made.get("prepared", {}))


def _compile(step: Callable) -> Callable:
  platform = jax.default_backend()
  return jax.jit(
    step,
    donate_argnums=(1,),
    # Where the processor has such vectors; 1.03 of the speed.
    compiler_options=xla_flags.on_cpus(
      platform, xla_cpu_prefer_vector_width=512
    ),
  )


def _apply(net, *arguments, **options):
  with jax.default_matmul_precision("highest"):
    return net.apply(*arguments, **options)
