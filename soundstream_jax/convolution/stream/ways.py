"""Causal convolutions that go on where the last call ended.

A stream gives each layer as many new samples as a block has. What the layer
needs of the samples before them it keeps itself: zeros at the start, as in
`layers`, whose functions these are. A block is short, so most convolutions are one
product with a matrix, which is made of the kernel once. The rest is what XLA for
CPUs is fast at: a block of one frame takes half a millisecond, and each array
that is written between two products counts.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.convolution.cpu import rows

Array = jax.Array

# Measured (benchmarks/NOTES.md): channels from which on XLA for CPUs is fast with
# sums of taps and convolutions, samples up to which it is with the latter, and
# values of a block up to which they are one line (see `in_lines`).
NARROW = 16
SHORT = 64
LINE = 2**18


class Convolution(Protocol):
  """One kind of convolution with a memory."""

  @property
  def past(self) -> int:
    """How many samples before a block its outputs depend on."""

  def matrix(self, kernel: Array, x: Array) -> Array:
    """Returns what `apply` multiplies x by, of a kernel in standard layout."""

  def apply(self, x: Array, matrix: Array) -> Array:
    """[B, past + T, in] -> outputs of the T samples, [B, N, M]."""


@dataclasses.dataclass(frozen=True)
class Dilated:
  """[B, T, in] -> [B, T, out]; kernel [k, in, out]."""

  features: int
  kernel_size: int
  dilation: int = 1

  @property
  def past(self):
    return (self.kernel_size - 1) * self.dilation

  def matrix(self, kernel, x):
    if self._is_one_row(x):
      return kernel
    if self._multiplies_first(x):
      return kernel.transpose(1, 0, 2).reshape(kernel.shape[1], -1)
    return _laid_out(kernel.reshape(-1, self.features), self._windows(x))

  def apply(self, x, matrix):
    if self._is_one_row(x):
      return rows.as_row(x[:, None], matrix, (0, 0), self.dilation)[:, 0]
    if not self._multiplies_first(x):
      return _product(self._windows(x), matrix)
    taps = jnp.split(_product(x, matrix), self.kernel_size, axis=-1)
    return sum(map(self._cut, taps, range(self.kernel_size)))

  def _is_one_row(self, x: Array) -> bool:
    """Whether XLA convolves it as fast as it multiplies, without windows."""
    several = 1 < x.shape[1] - self.past <= SHORT and self.kernel_size > 1
    return several and self.features >= NARROW

  def _multiplies_first(self, x: Array) -> bool:
    """Whether every sample meets all taps first, to be added up after.

    The products are fewer numbers than the windows where outputs are narrower
    than inputs. It is work for nothing for the samples of the past.
    """
    time, inputs = x.shape[1] - self.past, x.shape[2]
    return NARROW <= self.features < inputs and time >= 2 * self.past

  def _windows(self, x: Array) -> Array:
    return _stacked([self._cut(x, tap) for tap in range(self.kernel_size)])

  def _cut(self, x: Array, tap: int) -> Array:
    """Returns what the tap meets, or gives: [B, T, ...]."""
    start = tap * self.dilation
    return x[:, start : start + x.shape[1] - self.past]


@dataclasses.dataclass(frozen=True)
class Strided:
  """[B, T, in] -> [B, T / stride, out]; kernel [2 * stride, in, out]."""

  features: int
  stride: int

  @property
  def past(self):
    return self.stride

  def matrix(self, kernel, x):
    return _laid_out(kernel.reshape(-1, self.features), self._windows(x))

  def apply(self, x, matrix):
    return _product(self._windows(x), matrix)

  def _windows(self, x: Array) -> Array:
    blocks = x.reshape(x.shape[0], -1, self.stride * x.shape[2])
    return _stacked([blocks[:, :-1], blocks[:, 1:]])


@dataclasses.dataclass(frozen=True)
class Transposed:
  """[B, F, in] -> [B, F, stride * out]; kernel [2 * stride, in, out]."""

  features: int
  stride: int

  @property
  def past(self):
    return 1

  def matrix(self, kernel, x):
    # The kernel's second half is what the input before still adds.
    halves = kernel.reshape(2, self.stride, -1, self.features)[::-1]
    matrix = halves.transpose(0, 2, 1, 3).reshape(2 * x.shape[2], -1)
    return _laid_out(matrix, self._windows(x))

  def apply(self, x, matrix):
    return _product(self._windows(x), matrix)

  def _windows(self, x: Array) -> Array:
    return _stacked([x[:, :-1], x[:, 1:]])


def joined(past: Array, x: Array) -> tuple[Array, Array]:
  """[B, P * in] and [B, T, in] -> [B, P + T, in], and the next block's past."""
  batch, _, inputs = x.shape
  x = in_lines(x)
  before = past.reshape(batch, -1, *x.shape[2:])
  # Without the barrier XLA joins past and block anew for each use.
  x = lax.optimization_barrier(jnp.concatenate([before, x], axis=1))
  after = x[:, -before.shape[1] :].reshape(past.shape)
  return x.reshape(batch, -1, inputs), after


def elementwise(function: Callable[..., Array], *arrays: Array) -> Array:
  """Computes a function of single values of arrays [B, T, C] of one shape."""
  return function(*map(in_lines, arrays)).reshape(arrays[0].shape)


def in_lines(x: Array) -> Array:
  """x [B, T, C] as [B, T * C], in which elementwise functions are computed.

  XLA for CPUs makes vectors of loops over one axis, not of those over a few
  channels, nor where a result's indices are not the loop's. A bias is repeated for
  every sample then, so a large array stays as it is.
  """
  lines = x.reshape(x.shape[0], -1)
  return lines if lines.shape[1] <= LINE else x


def _laid_out(matrix: Array, windows: Array) -> Array:
  """Returns a matrix [K, M] as `_product` reads it fastest.

  One window alone is multiplied as fast as memory gives the matrix, and XLA for
  CPUs reads rows of K twice as fast as columns where K is the longer side.
  """
  inputs, outputs = matrix.shape
  alone = windows.shape[0] * windows.shape[1] == 1
  return matrix.T if alone and inputs > outputs else matrix


def _product(windows: Array, matrix: Array) -> Array:
  """[B, N, K] times what `_laid_out` returned: [B, N, M]."""
  # Turned around are only matrices of K > M, whose first side is not K.
  side = matrix.shape.index(windows.shape[-1])
  return lax.dot_general(windows, matrix, (((2,), (side,)), ((), ())))


def _stacked(taps: list[Array]) -> Array:
  return taps[0] if len(taps) == 1 else jnp.concatenate(taps, axis=-1)
