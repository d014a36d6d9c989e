"""A discriminator's judgement of audio, and its layers' activation."""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import signal

_LEAK = 0.2


@flax.struct.dataclass
class Output:
  """What one discriminator says about a batch; float32."""

  logits: jax.Array  # [B, T_k, 1], above 0 for real
  # Activations of every layer but the last: [B, T_l, C_l] of a wave network,
  # [B, N_l, F_l, C_l] of the STFT network, as its method lays them out.
  features: list[jax.Array]


def activate(x: signal.Signal) -> signal.Signal:
  """LeakyReLU(0.2); the paper names no activation."""
  return x.map(leaky)


@jax.custom_vjp
def leaky(x: jax.Array) -> jax.Array:
  """What `activate` applies.

  The slope follows from the value, which the next layer keeps anyway.
  """
  return nn.leaky_relu(x, _LEAK)


def _forward(x):
  y = leaky(x)
  return y, y


def _backward(y, cotangent):
  return (jnp.where(y >= 0, cotangent, _LEAK * cotangent),)


leaky.defvjp(_forward, _backward)


def judge(logits: jax.Array, features: Sequence[signal.Signal]) -> Output:
  """Returns float32 logits and features."""
  return Output(
    logits=precision.widened(logits),
    features=[precision.widened(feature.values) for feature in features],
  )
