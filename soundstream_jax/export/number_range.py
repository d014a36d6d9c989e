"""The largest number on a model's way, and whether float16 reaches it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.convolution import plain
from soundstream_jax.model import soundstream

FLOAT16 = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True, eq=False)
class _Watched(plain.Plain):
  """Convolutions that note the largest number of what they return."""

  seen: list[Any] = dataclasses.field(default_factory=list)

  def convolve(self, spec, x, parameters, memory):
    y = super().convolve(spec, x, parameters, memory)
    self.seen.append(jnp.max(jnp.abs(y)))
    return y


def largest(codec: codec_lib.Codec, audio: np.ndarray) -> float:
  """Returns the largest absolute number of layers, parameters and codebooks.

  Args:
    codec: of the model.
    audio: float32 [N], whole frames, which is encoded and decoded.
  """

  @jax.jit
  def reached(variables, audio):
    watched = _Watched()
    net = soundstream.from_config(codec.config, method=watched)
    latents = net.apply(variables, audio, method="encode")
    quantized = net.apply(variables, latents, method="quantize").quantized
    net.apply(variables, quantized, method="decode")
    # Squared distances are compared, too.
    watched.seen.append(jnp.max(jnp.sum(jnp.square(latents), axis=-1)))
    of_arrays = [jnp.max(jnp.abs(x)) for x in jax.tree.leaves(variables)]
    return jnp.max(jnp.stack([*watched.seen, *of_arrays]))

  return float(reached(codec.variables, audio[None, :, None]))
