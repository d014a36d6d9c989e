"""Convolutions over an axis that is folded into channels, so that vectors fill up.

A TPU computes on vectors of 128 channels, and the tensor cores of a GPU on 8, whatever
number of them is used. A signal [B, T, C] with few channels is therefore kept as
[B, T / f, f * C], f neighbouring samples to a vector: its fold. A convolution then
becomes one between such vectors: its kernel holds that of the ordinary convolution many times, along
diagonals, and zeros elsewhere. Of a plane [B, N, F, C] the second axis is folded.
This is the same sum with some terms times zero: a few times the multiplications,
and a fraction of the memory traffic and of the time. The kernel that is stored and
learnt keeps the standard layout.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Channels that a vector holds.
LANES = 128


def factor(channels: int, samples: int) -> int:
  """Returns the largest fold f: f * channels <= LANES, and f divides samples.

  Args:
    channels: of an unfolded sample.
    samples: that stay together (see `granules`).
  """
  most = max(1, LANES // channels)
  return next(f for f in range(most, 0, -1) if samples % f == 0)


def refold(x: jax.Array, before: int, after: int) -> jax.Array:
  """[..., T / before, before * C] -> [..., T / after, after * C]."""
  if before == after:
    return x
  *lead, vectors, width = x.shape
  return x.reshape(*lead, vectors * before // after, width // before * after)


def convolve(
  x: jax.Array,
  kernel: jax.Array,
  *,
  fold: int,
  stride: int = 1,
  dilation: int = 1,
  before: int,
  lead_strides: Sequence[int] = (),
  lead_padding: Sequence[tuple[int, int]] = (),
) -> jax.Array:
  """Strided or dilated convolution of a folded signal, without bias.

  Output o is the sum over taps j of sample stride * o - before + j * dilation
  times kernel[j]; samples outside of x are zero. There is one output for every
  `stride` samples.

  Args:
    x: [B, *lead, T / (stride * fold), stride * fold * in].
    kernel: [*k_lead, k, in, out].
    fold: of the output.
    before: samples by which the first tap precedes the first of a stride.
    lead_strides: of the axes that are not folded.
    lead_padding: of these, zeros before and after.

  Returns:
    [B, *lead', T / (stride * fold), fold * out].
  """
  taps = np.arange(kernel.shape[-3]) * dilation - before
  source = taps[:, None] + stride * np.arange(fold)[None, :]
  return _between_vectors(
    x, kernel, source, stride * fold, lead_strides, lead_padding
  )


def transposed(
  x: jax.Array, kernel: jax.Array, *, fold: int, stride: int
) -> jax.Array:
  """Causal transposed convolution of a folded signal, kernel 2 * stride.

  Args:
    x: [B, F / fold, fold * in].
    kernel: [2 * stride, in, out]; input f reaches outputs from f * stride.
    fold: of the input.

  Returns:
    [B, F / fold, fold * stride * out].
  """
  output = np.arange(fold * stride)[None, :]
  tap = np.arange(2 * stride)[:, None]
  source = (output - tap) // stride
  return _between_vectors(
    x, kernel, np.where((output - tap) % stride == 0, source, np.nan), fold
  )


def _between_vectors(x, kernel, source, inputs, strides=(), padding=()):
  """Convolves vectors of `inputs` samples; source [k, outputs] has for each tap
  and output of vector 0 the sample that they meet, or NaN."""
  tap, output = np.nonzero(~np.isnan(source.astype(float)))
  sample = source[tap, output].astype(int)
  vector, phase = np.divmod(sample, inputs)
  first, last = min(vector.min(), 0), max(vector.max(), 0)
  shape = (last - first + 1, inputs, source.shape[1])
  where = np.zeros((*shape, len(source)), np.float32)
  where[vector - first, phase, output, tap] = 1
  dense = _place(kernel, where)
  letters = "HW"[1 - len(strides) :]
  return lax.conv_general_dilated(
    x,
    dense,
    window_strides=(*strides, 1),
    padding=(*padding, (-first, last)),
    dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
  )


def _place(kernel: jax.Array, where: np.ndarray) -> jax.Array:
  """Copies taps [..., k, in, out] to where [m, p, q, k] says.

  A product with zeros and ones: exact, and its gradient sums in float32.

  Returns:
    [..., m, p * in, q * out].
  """
  taps, phases, outputs, _ = where.shape
  *lead, _, inputs, features = kernel.shape
  dense = jnp.einsum(
    "mpqk,...kio->...mpiqo",
    jnp.asarray(where, kernel.dtype),
    kernel,
    precision=lax.Precision.HIGHEST,
  )
  return dense.reshape(*lead, taps, phases * inputs, outputs * features)
