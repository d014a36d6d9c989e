"""What a discriminator says about audio, and what all of them share."""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax

from soundstream_jax import precision

_LEAK = 0.2


@flax.struct.dataclass
class Output:
  """What one discriminator says about a batch; float32."""

  logits: jax.Array  # [B, T_k, 1], above 0 for real
  # Activations of every layer but the last: [B, T_l, C_l] of a wave network
  # (or [B, T_l / f, f * C_l], f samples to a block),
  # [B, N_l, F_l / f, f * C_l] of the STFT network, f frequencies to a block.
  features: list[jax.Array]


def activate(x: jax.Array) -> jax.Array:
  """LeakyReLU(0.2); the paper names no activation."""
  return nn.leaky_relu(x, _LEAK)


def judge(logits: jax.Array, features: Sequence[jax.Array]) -> Output:
  """Returns float32 logits and features."""
  return Output(
    logits=precision.widened(logits),
    features=[precision.widened(feature) for feature in features],
  )
