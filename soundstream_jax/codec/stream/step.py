"""Steps of streams: (variables, state, a block) to (state, result).

Pure functions. The state is what each convolution needs of the past (see
`model.streams`) and, to decode, what lost frames are filled with (see
`concealment`); it is zeros at the start of a stream.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax.codec.stream import concealment

Array = jax.Array


@flax.struct.dataclass
class State:
  """What B streams keep, as one array: a call takes time for every array."""

  values: Array  # [B, S] float32, which bfloat16, bool and counts fit into
  # The leaves' shapes and types, and their tree.
  layout: tuple[tuple, Any] = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class Variables:
  """What the model's `apply` takes: few arrays, and no dicts, which are sorted."""

  arrays: tuple[Array, ...]
  vectors: State  # all leaves of one axis, as if one stream kept them
  are_vectors: tuple[bool, ...] = flax.struct.field(pytree_node=False)
  treedef: Any = flax.struct.field(pytree_node=False)

  @classmethod
  def of(cls, tree: dict) -> "Variables":
    leaves, treedef = jax.tree.flatten(tree)
    are_vectors = tuple(x.ndim == 1 for x in leaves)
    vectors = [x[None] for x in leaves if x.ndim == 1]
    arrays = tuple(x for x in leaves if x.ndim != 1)
    return cls(arrays, _pack(vectors), are_vectors, treedef)

  def tree(self) -> dict:
    arrays, vectors = iter(self.arrays), iter(_unpack(self.vectors))
    leaves = (next(vectors)[0] if v else next(arrays) for v in self.are_vectors)
    return jax.tree.unflatten(self.treedef, list(leaves))


def prepare(
  net: nn.Module, variables: dict, *, side: str, streams: int, block_frames: int
) -> tuple[Variables, State]:
  """Returns what the steps of one side take: variables, and a new state.

  Args:
    net: with form='stream'.
    variables: of `soundstream.variables`.
    side: 'encoder' or 'decoder'.
    streams: B.
    block_frames: F of a block.
  """
  make = _preparation(net, side, streams, block_frames)
  prepared, state = make(variables)
  params = {k: v for k, v in variables["params"].items() if k == "film"}
  kept = {**variables, "params": params, "prepared": prepared}
  return Variables.of(kept), state


def encode_step(
  net: nn.Module,
  num_quantizers: int,
  variables: Variables,
  state: State,
  audio: Array,
  denoise: Array,
) -> tuple[State, Array]:
  """Encodes the next block of B streams.

  Args:
    net: with form='stream'.
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
    variables.tree() | {"stream": _unpack(state)},
    audio[..., None],
    method="stream_encode",
    num_quantizers=num_quantizers,
    denoise=denoise,
    mutable=["stream"],
  )
  return _pack(changed["stream"]), codes


def decode_step(
  net: nn.Module,
  frame_rate_hz: float,
  variables: Variables,
  state: State,
  codes: Array,
  layers: Array,
  denoise: Array,
) -> tuple[State, Array]:
  """Decodes the next block of B streams, and conceals what was lost.

  Args:
    net: with form='stream'.
    frame_rate_hz: of the codec.
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
  past, gap = _unpack(state)
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
  return _pack((changed["stream"], gap)), audio * gain


def begin_anew(state: State, which: Array | None = None) -> State:
  """Returns the state of new streams: all, or those of a bool mask [B]."""
  if which is None:
    return state.replace(values=jnp.zeros_like(state.values))
  return state.replace(values=jnp.where(which[:, None], 0, state.values))


# Kept, so that streams which are alike compile once.
@functools.cache
def _preparation(net, side, streams, block_frames):
  """Returns variables -> (what is made of them once, a new state)."""
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
    return made["prepared"], begin_anew(_pack(made["stream"]))

  def decoder(variables):
    shape = (streams, block_frames, net.model.embedding_dim)
    latents = jnp.zeros(shape, jnp.float32)
    _, made = _apply(net, variables, latents, method="decode", **first)
    state = made["stream"], concealment.start(latents)
    return made["prepared"], begin_anew(_pack(state))

  make = {"encoder": encoder, "decoder": decoder}[side]
  return jax.jit(make, donate_argnums=())


def _apply(net, *arguments, **options):
  with jax.default_matmul_precision("highest"):
    return net.apply(*arguments, **options)


def _pack(tree) -> State:
  """Tree of arrays [B, ...] -> State."""
  leaves, treedef = jax.tree.flatten(tree)
  layout = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves)
  values = [x.astype(jnp.float32).reshape(x.shape[0], -1) for x in leaves]
  return State(jnp.concatenate(values, axis=1), (layout, treedef))


def _unpack(state: State):
  """State -> tree of arrays."""
  layout, treedef = state.layout
  start, leaves = 0, []
  for like in layout:
    end = start + math.prod(like.shape[1:])
    values = state.values[:, start:end]
    leaves.append(values.reshape(like.shape).astype(like.dtype))
    start = end
  return jax.tree.unflatten(treedef, leaves)
