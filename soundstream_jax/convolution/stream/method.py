"""Causal convolutions that continue where the last call ended.

A stream gives each layer as many new samples as a block of frames has. What the
layer needs of the samples before them it keeps itself, zeros at the start. A
block is short, so most convolutions are one product with a matrix, which is made
of the kernel once (see `matrices`). The rest is what XLA for CPUs is fast at: a
block of one frame takes half a millisecond, and each array that is written
between two products counts.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax import precision
from soundstream_jax.convolution import activation, plain
from soundstream_jax.convolution import snake as snake_lib
from soundstream_jax.convolution.stream import matrices

Array = jax.Array

# Values of a block up to which they are one line (see `_in_lines`). Measured
# (benchmarks/NOTES.md).
LINE = 2**18


@dataclasses.dataclass(frozen=True)
class Stream(plain.Plain):
  """A `signal.Method` for causal layers over time; values are [B, T, C].

  Collections: `stream`, the past that each layer keeps, and `prepared`, what is
  made of its parameters once; these are then not asked for.

  Attributes:
    longest_line: values of a block up to which they are one line. XLA for CPUs
      is fast with those; what is made of the parameters grows with the block.
      0 is for programs that others compile.
  """

  longest_line: int = LINE

  def convolve(self, spec, x, parameters, memory):
    values, inputs = x.values, x.channels
    batch = values.shape[0]  # which may be symbolic, as a length may not
    matrix_of = matrices.of(spec)
    if spec.past:
      shape = (batch, spec.past * inputs)
      past = memory("stream", "past", jnp.zeros, shape, values.dtype)
      values, past.value = self._joined(past.value, values)

    def outputs(matrix):
      y = matrix_of.apply(values, matrix)
      return self._in_lines(y.reshape(batch, -1, spec.features))

    def prepare():
      kernel, bias = parameters()
      matrix = matrix_of.matrix(kernel, values)
      line = jax.eval_shape(outputs, matrix).shape[-1]
      return matrix, jnp.tile(bias, line // spec.features)

    matrix, bias = memory("prepared", "layer", prepare).value
    y = precision.add_bias(outputs(matrix), bias)
    return y.reshape(batch, -1, spec.features)

  def elementwise(self, function, *values):
    return function(*map(self._in_lines, values)).reshape(values[0].shape)

  def elu(self, values):
    return self.elementwise(activation.elu, values)

  def snake(self, x, parameters, memory):
    values = self._in_lines(x.values)

    def prepare():
      return jnp.tile(parameters(), values.shape[-1] // x.channels)

    alpha = memory("prepared", "alpha", prepare).value
    alpha = alpha.reshape((1,) * (values.ndim - 1) + (-1,))
    return snake_lib.snake(values, alpha).reshape(x.values.shape)

  def _joined(self, past: Array, x: Array) -> tuple[Array, Array]:
    """[B, P * in], [B, T, in] -> [B, P + T, in], and the next block's past."""
    batch, _, inputs = x.shape
    x = self._in_lines(x)
    before = past.reshape(batch, -1, *x.shape[2:])
    # Without the barrier XLA joins past and block anew for each use.
    x = lax.optimization_barrier(jnp.concatenate([before, x], axis=1))
    after = x[:, -before.shape[1] :].reshape(past.shape)
    return x.reshape(batch, -1, inputs), after

  def _in_lines(self, x: Array) -> Array:
    """x [B, T, C] as [B, T * C], in which elementwise functions are computed.

    XLA for CPUs makes vectors of loops over one axis, not of those over a few
    channels, nor where a result's indices are not the loop's. A bias is
    repeated for every sample then, so a large array stays as it is.
    """
    lines = x.reshape(x.shape[0], -1)
    return lines if lines.shape[1] <= self.longest_line else x
