"""The functions that leave: pure, of arrays alone, with the weights in them.

Each takes and returns plain arrays by position, so that any runtime can call it:

    encode(audio [B, F * hop], denoise?) -> codes [B, F, Q]
    decode(codes [B, F, q], denoise?) -> audio [B, F * hop]
    encode_step(state [B, S], audio [B, F * hop], denoise?) -> new_state, codes
    decode_step(state [B, S], codes [B, F, Q], layers [B, F], denoise?)
      -> new_state, audio

Audio and state are float32, codes and layers int32. `denoise`, bool [B], is an
argument on the side where the model has its FiLM alone. A state starts as
zeros; its layout is that of every block size. Layers counts how many of a
frame's codes arrived, 0 is a lost frame.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export, lax

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported
from soundstream_jax.codec.stream import state as state_lib
from soundstream_jax.codec.stream import step as step_lib
from soundstream_jax.convolution import methods, signal
from soundstream_jax.convolution.stream import method as stream
from soundstream_jax.model import quantizers, soundstream
from soundstream_jax.model.quantizers import kind

Array = jax.Array
Size = Any  # an int, or a symbolic size of jax.export

# Frames of a block that steps are written for: one for the shortest delay, and
# many for the speed of whole files.
BLOCKS = (1, 8, 32)


@dataclasses.dataclass(frozen=True)
class Function:
  """One of them, and what it is called with.

  Attributes:
    call: of arrays, by position.
    inputs: name -> shape and dtype, in that order.
    outputs: names, in the order of what it returns.
  """

  call: Callable
  inputs: Mapping[str, jax.ShapeDtypeStruct]
  outputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Constants:
  """Stands for `stream.state.Variables`: arrays that become constants."""

  values: dict

  def tree(self) -> dict:
    return self.values


def encode(model: exported.Exported, batch: Size, frames: Size) -> Function:
  """Returns `encode`, for sizes that may be symbolic."""
  net, variables = _offline(model)

  def call(audio, denoise=None):
    with jax.default_matmul_precision("highest"):
      latents = net.apply(
        variables, audio[..., None], denoise=denoise, method="encode"
      )
      return net.apply(variables, latents, method="quantize").codes

  hop = model.config.rates.hop_samples
  inputs = {"audio": jax.ShapeDtypeStruct((batch, frames * hop), jnp.float32)}
  inputs |= _denoise(model.config, "encoder", batch)
  return Function(call, inputs, ("codes",))


def decode(
  model: exported.Exported, batch: Size, frames: Size, layers: Size
) -> Function:
  """Returns `decode`, for sizes that may be symbolic.

  Args:
    layers: q of the codes, at most Q.
  """
  net, variables = _offline(model)

  def call(codes, denoise=None):
    with jax.default_matmul_precision("highest"):
      latents = net.apply(variables, codes, method="dequantize")
      audio = net.apply(variables, latents, denoise=denoise, method="decode")
    return audio[..., 0].astype(jnp.float32)

  inputs = {"codes": jax.ShapeDtypeStruct((batch, frames, layers), jnp.int32)}
  inputs |= _denoise(model.config, "decoder", batch)
  return Function(call, inputs, ("audio",))


def encode_step(model: exported.Exported, batch: Size, frames: int) -> Function:
  """Returns `encode_step` of a block of so many frames."""
  net, variables, layout = _stream(model, "encoder", batch, frames)
  codes_of = _layers(model)

  def call(state, audio, denoise=None):
    past = state_lib.unpack(layout.replace(values=state))
    with jax.default_matmul_precision("highest"):
      codes, changed = net.apply(
        variables.tree() | {"stream": past},
        audio[..., None],
        _off(state) if denoise is None else denoise,
        method=lambda net, audio, denoise: codes_of(
          net, net.encode(audio, denoise=denoise)
        ),
        mutable=["stream"],
      )
    return state_lib.pack(changed["stream"]).values, codes

  hop = model.config.rates.hop_samples
  inputs = {
    "state": jax.ShapeDtypeStruct((batch, _size(layout)), jnp.float32),
    "audio": jax.ShapeDtypeStruct((batch, frames * hop), jnp.float32),
  }
  inputs |= _denoise(model.config, "encoder", batch)
  return Function(call, inputs, ("new_state", "codes"))


def decode_step(model: exported.Exported, batch: Size, frames: int) -> Function:
  """Returns `decode_step` of a block of so many frames."""
  net, variables, layout = _stream(model, "decoder", batch, frames)
  layers = model.config.quantizer.num_quantizers
  rate = float(model.config.rates.frame_rate_hz)

  def call(state, codes, layers, denoise=None):
    after, audio = step_lib.decode_step(
      net,
      rate,
      variables,
      layout.replace(values=state),
      codes,
      layers,
      _off(state) if denoise is None else denoise,
    )
    return after.values, audio

  inputs = {
    "state": jax.ShapeDtypeStruct((batch, _size(layout)), jnp.float32),
    "codes": jax.ShapeDtypeStruct((batch, frames, layers), jnp.int32),
    "layers": jax.ShapeDtypeStruct((batch, frames), jnp.int32),
  }
  inputs |= _denoise(model.config, "decoder", batch)
  return Function(call, inputs, ("new_state", "audio"))


def _offline(model: exported.Exported) -> tuple[Any, dict]:
  """Returns the network as it computes all at once, and its variables."""
  # Fast on CPUs and GPUs alike: one program for all platforms.
  return _network(model, methods.METHODS["blocks"]), _variables(model)


def _stream(
  model: exported.Exported,
  side: str,
  batch: Size,
  frames: int,
) -> tuple[Any, _Constants, Any]:
  """Returns the network of streams, what it reads, and a state of its layout."""
  # Long lines are faster with XLA for CPUs, by a sixth, but blocks of 32 frames
  # would be half as large again.
  net = _network(model, stream.Stream(longest_line=0))
  variables, state = step_lib.prepare(
    net,
    _variables(model),
    side=side,
    # A matrix may lie otherwise where one frame of one stream is alone; what is
    # written for any number of streams is like that for two.
    streams=batch if isinstance(batch, int) else 2,
    block_frames=frames,
  )
  return net, _Constants(variables.tree()), state


def _layers(model: exported.Exported) -> Callable:
  """Returns (network, latents [B, F, D]) -> codes [B, F, Q].

  A stream of the codec reads each codebook as it lies best to compare with it
  and, beside that, to look a code up: two thirds of the encoder. Here both are
  one array, twice the codebook, for which distances ask: doubling rounds nothing.
  """
  if quantizers.of(model.config.quantizer).projects:
    # Their codebooks have few dimensions, so there is little to save.
    return lambda net, latents: net.quantizer.stream_codes(latents, None)
  books = [jnp.asarray(2 * book) for book in model.vectors]
  norms = [
    jnp.sum(jnp.square(jnp.asarray(book)), axis=-1)[None, None]
    for book in model.vectors
  ]

  def codes_of(net, latents):
    del net
    residual, codes = latents, []
    for book, norm in zip(books, norms, strict=True):
      products = lax.dot_general(residual, book, (((2,), (1,)), ((), ())))
      codes.append(kind.first_smallest(norm - products))
      residual -= 0.5 * jnp.take(book, codes[-1], axis=0, mode="clip")
    return jnp.stack(codes, axis=-1)

  return codes_of


def _network(model: exported.Exported, method: signal.Method) -> Any:
  config = dataclasses.replace(model.config, rematerialise=False)
  return soundstream.from_config(config, method=method)


def _variables(model: exported.Exported) -> dict:
  arrays = soundstream.variables(model.params, model.vectors)
  return jax.tree.map(functools.partial(jnp.asarray, dtype=jnp.float32), arrays)


def _denoise(config: config_lib.Config, side: str, batch: Size) -> dict:
  if config.model.film != side:
    return {}
  return {"denoise": jax.ShapeDtypeStruct((batch,), jnp.bool_)}


def _off(state: Array) -> Array:
  return jnp.zeros(state.shape[:1], jnp.bool_)


def _size(state: Any) -> int:
  """Returns S of a state."""
  return state.values.shape[1]


def traced(function: Function, platforms: Sequence[str]) -> export.Exported:
  """Returns what jax.export makes of a function, the same bytes every time."""
  before = jax.config.jax_traceback_in_locations_limit
  # Else the files name those of our code, as they lie on this machine.
  jax.config.update("jax_traceback_in_locations_limit", 0)
  try:
    trace = export.export(jax.jit(function.call), platforms=platforms)
    return trace(*function.inputs.values())
  finally:
    jax.config.update("jax_traceback_in_locations_limit", before)


def signature(function: Function) -> dict[str, Any]:
  """Returns the inputs and outputs of a function, for JSON."""
  return {
    "inputs": {
      name: {
        "shape": [x if isinstance(x, int) else str(x) for x in like.shape],
        "dtype": str(like.dtype),
      }
      for name, like in function.inputs.items()
    },
    "outputs": list(function.outputs),
  }


def state_size(function: Function) -> int:
  """Returns S of a step."""
  return function.inputs["state"].shape[1]


def about(config: config_lib.Config) -> dict[str, Any]:
  """Returns what a caller has to know of a model, for JSON."""
  rates = config.rates
  return {
    "sample_rate": rates.sample_rate_hz,
    "hop": rates.hop_samples,
    "num_quantizers": rates.num_quantizers,
    "codebook_size": rates.codebook_size,
    "film": config.model.film,
    "blocks": list(BLOCKS),
    "state": "zeros [B, S]",
  }
