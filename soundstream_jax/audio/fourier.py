"""The Fourier transform of frames, computed where the frames lie.

XLA gathers the whole batch on every CPU and GPU before a transform, and all of
them transform all of it: the batch would cross the network for each window of
a loss, and none of the work would be shared. So there we say ourselves how it
splits: by batch and frames.

On a TPU the transform is a matrix product. Against XLA's own, by the compiler's
estimate for a mel loss: 3.7 times fewer cycles at a window of 64, as many at
1024, and half the time to compile.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P


@jax.custom_vjp
def real(frames: jax.Array) -> jax.Array:
  """Returns the DFT of real frames [B, N, W]: complex [B, N, W // 2 + 1]."""
  return lax.platform_dependent(frames, tpu=by_product, default=_split)


def _forward(frames):
  return real(frames), frames.shape[2]


def _backward(window, cotangent):
  return (
    lax.platform_dependent(
      cotangent,
      tpu=functools.partial(_transpose, by_product, window),
      default=_split_transpose(window),
    ),
  )


real.defvjp(_forward, _backward)


def by_product(frames: jax.Array) -> jax.Array:
  """Returns the same as `real`, for any device, as a matrix product."""
  window, dtype = frames.shape[2], frames.dtype
  shape = (window, window // 2 + 1)
  # Integers, so that the angle is exact before it is rounded once; computed on
  # the device, because a constant of a window of 2048 would be 17 MB.
  turns = lax.broadcasted_iota(jnp.int32, shape, 0)
  turns = turns * lax.broadcasted_iota(jnp.int32, shape, 1) % window
  angle = turns.astype(dtype) * jnp.asarray(2 * np.pi / window, dtype)
  spectrum = jnp.einsum(
    "bnw,wf->bnf",
    frames,
    jnp.concatenate([jnp.cos(angle), -jnp.sin(angle)], axis=1),
    precision=lax.Precision.HIGHEST,
  )
  return lax.complex(*jnp.split(spectrum, 2, axis=2))


def _transform(frames):
  return jnp.fft.rfft(frames, axis=2)


def _transpose(transform, window, cotangent):
  """What a transform, a linear function, is pulled back by."""
  dtype = jnp.real(cotangent).dtype
  frames = jax.ShapeDtypeStruct((*cotangent.shape[:2], window), dtype)
  return jax.linear_transpose(transform, frames)(cotangent)[0]


def _splitting(of: Callable, *, rule: str) -> Callable:
  """Makes a function of [B, N, x] split like its argument, but for x."""
  split = custom_partitioning(of)

  def place(argument):
    batch, frames, *_ = (*argument.sharding.spec, None, None)
    return NamedSharding(argument.sharding.mesh, P(batch, frames, None))

  def partition(mesh, arguments, result):
    del result
    placed = place(arguments[0])
    return mesh, of, placed, (placed,)

  def infer(mesh, arguments, result):
    del mesh, result
    return place(arguments[0])

  before, after = (side.split()[2] for side in rule.split(" -> "))
  split.def_partition(
    partition,
    infer_sharding_from_operands=infer,
    sharding_rule=rule,
    need_replication_factors=(before, after),
  )
  return split


_split = _splitting(_transform, rule="b n w -> b n f")


@functools.cache
def _split_transpose(window: int) -> Callable:
  return _splitting(
    functools.partial(_transpose, _transform, window), rule="b n f -> b n w"
  )
