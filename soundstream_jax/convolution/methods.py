"""Forms of one function: which one computes the generator, and what it needs."""

import functools
import pathlib
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution.stream import ways as streams
from soundstream_jax.convolution.tpu import folding

Array = jax.Array


def elu(x: Array, form: str) -> Array:
  """The activation between layers; `form` is one of those of `form_for`."""
  if form == "stream":
    return streams.elementwise(_fast_elu, x)
  return _fast_elu(x) if is_for_cpus(form) else nn.elu(x)


def add(x: Array, y: Array, form: str) -> Array:
  """The sum where two ways meet; `form` is one of those of `form_for`."""
  if form == "stream":
    return streams.elementwise(jnp.add, x, y)
  return x + y


@jax.custom_vjp
def _fast_elu(x: Array) -> Array:
  """The same as `nn.elu` to 1e-7, in half its time or less.

  XLA for CPUs has a slow expm1, slower by ten where loops do not turn into
  vectors. What the difference loses of small values is below the rounding of
  the sums that they are terms of, in float32 at least. The slope follows from
  the value, which the next layer keeps anyway: that before it need not be kept.
  """
  wide = precision.widened(x)
  y = jnp.where(wide > 0, wide, jnp.exp(jnp.minimum(wide, 0)) - 1)
  return y.astype(x.dtype)


def _fast_elu_forward(x):
  y = _fast_elu(x)
  return y, y


def _fast_elu_backward(y, cotangent):
  slope = jnp.minimum(precision.widened(y), 0) + 1
  return ((cotangent * slope).astype(y.dtype),)


_fast_elu.defvjp(_fast_elu_forward, _fast_elu_backward)


def form_for(form: str, platform: str | None = None) -> str:
  """Returns the form of config.form for a platform, by default the one here.

  Of 'plain', 'blocks', 'rows' and 'lanes'. Beside them there is 'stream', in
  which convolutions have a memory (see `streams`).
  """
  if form != "auto":
    return form
  platform = platform or jax.default_backend()
  if platform == "tpu":
    return "lanes"
  return "rows" if platform == "cpu" and _has_avx512() else "blocks"


def lift(x: Array, form: str) -> Array:
  """x [B, T, C] as layers of a form take it: in 'rows' [B, 1, T, C]."""
  return x[:, None] if form == "rows" else x


def lower(x: Array, form: str) -> Array:
  """The inverse of `lift`."""
  return x[:, 0] if form == "rows" else x


def is_for_cpus(form: str) -> bool:
  """Whether it is 'blocks' or 'rows', which differ in one axis' convolutions."""
  return form in ("blocks", "rows")


@functools.cache
def _has_avx512() -> bool:
  try:
    return "avx512f" in pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:  # not Linux
    return False


def folds(form: str, channels: int, strides: Sequence[int]) -> list[int]:
  """Returns the samples to a block at each level, from full rate down.

  The last level is that of the frames, whose samples are never folded.
  """
  widths = [channels * 2**level for level in range(len(strides))]
  if form != "lanes":
    return [1] * (len(strides) + 1)
  return [*folding.factors(widths, strides), 1]
