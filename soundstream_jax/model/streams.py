"""Causal convolutions that go on where the last call ended.

A stream gives each layer as many new samples as a block has. What the layer
needs of the samples before them it keeps itself: zeros at the start, as in
`layers`, whose functions these are. A block is short, so a convolution is one
product of a matrix with windows of the signal, and the matrix is made of the
kernel once.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

Array = jax.Array


class Convolution(Protocol):
  """One kind of convolution with a memory."""

  def past_shape(self, x: Array) -> tuple[int, int, int]:
    """Returns [B, P, in], the shape of the memory for blocks like x."""

  def matrix(self, kernel: Array) -> Array:
    """Returns what `apply` multiplies by, of a kernel in standard layout."""

  def apply(self, x: Array, matrix: Array) -> Array:
    """[B, P + T, in] -> the T samples' outputs."""


@dataclasses.dataclass(frozen=True)
class Dilated:
  """[B, T, in] -> [B, T, out]; kernel [k, in, out]."""

  kernel_size: int
  dilation: int = 1

  @property
  def _past(self) -> int:
    return (self.kernel_size - 1) * self.dilation

  def past_shape(self, x):
    return x.shape[0], self._past, x.shape[2]

  def matrix(self, kernel):
    return kernel.reshape(-1, kernel.shape[-1])

  def apply(self, x, matrix):
    time = x.shape[1] - self._past
    starts = range(0, self._past + 1, self.dilation)
    taps = [x[:, start : start + time] for start in starts]
    return _product(taps, matrix)


@dataclasses.dataclass(frozen=True)
class Strided:
  """[B, T, in] -> [B, T / stride, out]; kernel [2 * stride, in, out]."""

  stride: int

  def past_shape(self, x):
    return x.shape[0], self.stride, x.shape[2]

  def matrix(self, kernel):
    return kernel.reshape(-1, kernel.shape[-1])

  def apply(self, x, matrix):
    blocks = x.reshape(x.shape[0], -1, self.stride * x.shape[2])
    return _product([blocks[:, :-1], blocks[:, 1:]], matrix)


@dataclasses.dataclass(frozen=True)
class Transposed:
  """[B, F, in] -> [B, F * stride, out]; kernel [2 * stride, in, out]."""

  stride: int

  def past_shape(self, x):
    return x.shape[0], 1, x.shape[2]

  def matrix(self, kernel):
    _, inputs, features = kernel.shape
    # The kernel's second half is what the input before still adds.
    halves = kernel.reshape(2, self.stride, inputs, features)[::-1]
    return halves.transpose(0, 2, 1, 3).reshape(
      2 * inputs, self.stride * features
    )

  def apply(self, x, matrix):
    y = _product([x[:, :-1], x[:, 1:]], matrix)
    return y.reshape(y.shape[0], y.shape[1] * self.stride, -1)


def _product(taps: list[Array], matrix: Array) -> Array:
  """Stacks taps [B, T, c] to windows and multiplies: [B, T, out]."""
  windows = taps[0] if len(taps) == 1 else jnp.concatenate(taps, axis=-1)
  return windows @ matrix
