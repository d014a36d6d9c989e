"""Steps of streams: (variables, state, a block) to (state, result).

Pure functions. The state is what each convolution needs of the past (see
`model.streams`), zeros at the start.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def prepare(
  net: nn.Module, variables: dict, *, side: str, streams: int, block_frames: int
) -> tuple[dict, dict]:
  """Returns what the steps of one side take: variables, and a new state.

  Args:
    net: with form='stream'.
    variables: of `soundstream.variables`.
    side: 'encoder' or 'decoder'.
    streams: B.
    block_frames: F of a block.
  """
  samples = block_frames * math.prod(net.model.strides)
  step, *shape = {
    "encoder": (_encode, streams, samples),
    "decoder": (_decode, streams, block_frames, 1),
  }[side]
  denoise = np.zeros((streams,), bool)

  def first(variables):
    items = jnp.zeros(shape, jnp.int32 if len(shape) == 3 else jnp.float32)
    return step(net, variables, items, denoise, ["stream", "prepared"])[0]

  made = jax.jit(first, donate_argnums=())(variables)
  state = jax.tree.map(jnp.zeros_like, made["stream"])
  return {**variables, "prepared": made["prepared"]}, state


def encode_step(
  net: nn.Module,
  num_quantizers: int,
  variables: dict,
  state: dict,
  audio: Array,
  denoise: Array,
) -> tuple[dict, Array]:
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
  variables = {**variables, "stream": state}
  changed, codes = _encode(
    net, variables, audio, denoise, ["stream"], num_quantizers
  )
  return changed["stream"], codes


def decode_step(
  net: nn.Module,
  variables: dict,
  state: dict,
  codes: Array,
  denoise: Array,
) -> tuple[dict, Array]:
  """Decodes the next block of B streams.

  Args:
    net: with form='stream'.
    variables: of `prepare`.
    state: of `prepare`, or of the step before.
    codes: int32 [B, F, q], of the first q layers.
    denoise: bool [B].

  Returns:
    The new state, and audio float32 [B, F * hop].
  """
  variables = {**variables, "stream": state}
  changed, audio = _decode(net, variables, codes, denoise, ["stream"])
  return changed["stream"], audio


def _encode(net, variables, audio, denoise, mutable, num_quantizers=None):
  with jax.default_matmul_precision("highest"):
    codes, changed = net.apply(
      variables,
      audio[..., None],
      num_quantizers=num_quantizers,
      denoise=denoise,
      method="stream_encode",
      mutable=mutable,
    )
  return changed, codes


def _decode(net, variables, codes, denoise, mutable):
  with jax.default_matmul_precision("highest"):
    audio, changed = net.apply(
      variables,
      codes,
      denoise=denoise,
      method="stream_decode",
      mutable=mutable,
    )
  return changed, audio[..., 0].astype(jnp.float32)
