"""The matrices that a stream multiplies by instead of convolving.

A layer's block of samples, with the past before it, becomes windows whose product
with a matrix, the kernel laid out anew, is the convolution.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.convolution.cpu import conv1d

Array = jax.Array

# Measured (benchmarks/NOTES.md): channels from which on XLA for CPUs is fast with
# sums of taps and convolutions, and samples up to which it is with the latter.
NARROW = 16
SHORT = 64


class Convolution(Protocol):
  """One kind of convolution with a memory."""

  def matrix(self, kernel: Array, x: Array) -> Array:
    """Returns what `apply` multiplies x by, of a kernel in standard layout."""

  def apply(self, x: Array, matrix: Array) -> Array:
    """[B, past + T, in] -> outputs of the T samples, [B, N, M]."""


@dataclasses.dataclass(frozen=True)
class Dilated:
  """[B, T, in] -> [B, T, out]; kernel [k, in, out]."""

  spec: spec_lib.Spec

  def matrix(self, kernel, x):
    if self._is_image(x):
      return kernel
    if self._multiplies_first(x):
      return kernel.transpose(1, 0, 2).reshape(kernel.shape[1], -1)
    return _laid_out(kernel.reshape(-1, self.spec.features), self._windows(x))

  def apply(self, x, matrix):
    if self._is_image(x):
      return conv1d.as_image(x[:, None], matrix, (0, 0), self.spec.dilation)[
        :, 0
      ]
    if not self._multiplies_first(x):
      return _product(self._windows(x), matrix)
    taps = jnp.split(_product(x, matrix), self.spec.kernel[0], axis=-1)
    return sum(map(self._cut, taps, range(self.spec.kernel[0])))

  def _is_image(self, x: Array) -> bool:
    """Whether XLA convolves it as fast as it multiplies, without windows."""
    several = (
      1 < x.shape[1] - self.spec.past <= SHORT and self.spec.kernel[0] > 1
    )
    return several and self.spec.features >= NARROW

  def _multiplies_first(self, x: Array) -> bool:
    """Whether every sample meets all taps first, to be added up after.

    The products are fewer numbers than the windows where outputs are narrower
    than inputs. It is work for nothing for the samples of the past.
    """
    time, inputs = x.shape[1] - self.spec.past, x.shape[2]
    return NARROW <= self.spec.features < inputs and time >= 2 * self.spec.past

  def _windows(self, x: Array) -> Array:
    return _stacked([self._cut(x, tap) for tap in range(self.spec.kernel[0])])

  def _cut(self, x: Array, tap: int) -> Array:
    """Returns what the tap meets, or gives: [B, T, ...]."""
    start = tap * self.spec.dilation
    return x[:, start : start + x.shape[1] - self.spec.past]


@dataclasses.dataclass(frozen=True)
class Strided:
  """[B, T, in] -> [B, T / stride, out]; kernel [n * stride, in, out]."""

  spec: spec_lib.Spec

  def matrix(self, kernel, x):
    return _laid_out(kernel.reshape(-1, self.spec.features), self._windows(x))

  def apply(self, x, matrix):
    return _product(self._windows(x), matrix)

  def _windows(self, x: Array) -> Array:
    strided = x.reshape(x.shape[0], -1, self.spec.stride * x.shape[2])
    groups = self.spec.kernel[0] // self.spec.stride
    count = strided.shape[1] - groups + 1
    return _stacked([strided[:, i : i + count] for i in range(groups)])


@dataclasses.dataclass(frozen=True)
class Transposed:
  """[B, F, in] -> [B, F, stride * out]; kernel [2 * stride, in, out]."""

  spec: spec_lib.Spec

  def matrix(self, kernel, x):
    # The kernel's second half is what the input before still adds.
    halves = kernel.reshape(2, self.spec.stride, -1, self.spec.features)[::-1]
    matrix = halves.transpose(0, 2, 1, 3).reshape(2 * x.shape[2], -1)
    return _laid_out(matrix, self._windows(x))

  def apply(self, x, matrix):
    return _product(self._windows(x), matrix)

  def _windows(self, x: Array) -> Array:
    return _stacked([x[:, :-1], x[:, 1:]])


def of(spec: spec_lib.Spec) -> Convolution:
  """Returns how a stream computes a causal convolution.

  Raises:
    ValueError: not of a kind that the generator has.
  """
  if spec.has_two_taps and spec.transposed:
    return Transposed(spec)
  if spec.stride > 1 and spec.has_whole_strides:
    return Strided(spec)
  if not spec.is_causal or spec.stride > 1:
    raise ValueError(f"A stream cannot compute {spec}.")
  return Dilated(spec)


def _laid_out(matrix: Array, windows: Array) -> Array:
  """Returns a matrix [K, M] as `_product` reads it fastest.

  One window alone is multiplied as fast as memory gives the matrix, and XLA for
  CPUs reads lines of K twice as fast as columns where K is the longer side.
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
