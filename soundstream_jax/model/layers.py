"""Causal convolutions and the residual unit, as layers with parameters.

Parameters have the field's standard layouts, whatever form computes them (see
`causal`): convolutions (kernel, in, out), transposed ones (2 * stride, in, out).
In the form 'rows' arrays [B, T, C] have one axis more: [B, 1, T, C].

Source: paper section III-A and III-B, Fig. 3. Weight initialisation and padding
value (zero) are ours: the paper names neither.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import methods as forms
from soundstream_jax.convolution import two_taps as causal
from soundstream_jax.convolution.cpu import kernel_gradients as products
from soundstream_jax.convolution.cpu import rows
from soundstream_jax.convolution.stream import ways as streams
from soundstream_jax.convolution.tpu import folding
from soundstream_jax.model import (
  initialise,
)

Array = jax.Array

# First kernels, relative to the standard deviation that keeps the variance.
# ELU is linear near zero and audio is small: with INPUT_GAIN = 1 the encoder
# starts as a linear filter, which cannot measure loudness or spectrum, and
# stays one for long. With 100, a passage at -40 dBFS reaches the ELUs at one.
INPUT_GAIN = 100.0
# Residual branches start small, so that a deep network starts shallow.
BRANCH_GAIN = 0.01
# Audio is small again.
OUTPUT_GAIN = 0.1


class _Conv(nn.Module):
  """Kernel, bias and precision, shared by the three kinds of convolution."""

  features: int
  kernel_size: int
  convolve: Callable[[Array, Array], Array]
  taps_per_output: int  # for the initialisation: inputs that an output sees
  fold: int = 1  # samples to a block of the input
  gain: float = 1.0  # for the initialisation: times the variance-keeping std
  stream: streams.Convolution | None = None  # instead of `convolve`
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    x = x.astype(self.dtype)
    if self.stream:
      return self._go_on(x)
    kernel, bias = self._parameters(x.shape[-1] // self.fold)
    y = self.convolve(x, kernel)
    return precision.add_bias(y, jnp.tile(bias, y.shape[-1] // self.features))

  def _parameters(self, inputs: int) -> tuple[Array, Array]:
    param_dtype = precision.of_parameters(self.dtype)
    fan_in = self.taps_per_output * inputs
    kernel = self.param(
      "kernel",
      initialise.normal(self.gain * fan_in**-0.5),
      (self.kernel_size, inputs, self.features),
      param_dtype,
    )
    bias = self.param(
      "bias", initialise.constant(0.0), (self.features,), param_dtype
    )
    return kernel.astype(self.dtype), bias

  def _go_on(self, x: Array) -> Array:
    """Convolves [B, T, in] with what came before it in memory.

    Parameters are asked for only until they are prepared.
    """
    batch, _, inputs = x.shape
    if self.stream.past:
      shape = (batch, self.stream.past * inputs)
      past = self.variable("stream", "past", jnp.zeros, shape, self.dtype)
      x, past.value = streams.joined(past.value, x)

    def outputs(matrix):
      y = self.stream.apply(x, matrix)
      return streams.in_lines(y.reshape(batch, -1, self.features))

    def prepare():
      kernel, bias = self._parameters(inputs)
      matrix = self.stream.matrix(kernel, x)
      line = jax.eval_shape(outputs, matrix).shape[-1]
      return matrix, jnp.tile(bias, line // self.features)

    matrix, bias = self.variable("prepared", "layer", prepare).value
    y = precision.add_bias(outputs(matrix), bias)
    return y.reshape(batch, -1, self.features)


def conv(
  features: int,
  kernel_size: int,
  *,
  dilation: int = 1,
  gain: float = 1.0,
  fold: int = 1,
  form: str = "blocks",
  dtype,
  name=None,
) -> nn.Module:
  """Causal convolution with bias: [B, T, in] -> [B, T, features].

  Args:
    fold: samples to a block, of inputs and outputs (see `folding`).
    form: one of those of `forms.form_for`.
  """

  def convolve(x, kernel):
    past = (kernel_size - 1) * dilation
    if forms.is_for_cpus(form) and kernel_size == 1:
      return products.pointwise(x, kernel[0])
    if form == "rows":
      return rows.convolve(x, kernel, (past, 0), dilation)
    if fold == 1:
      return causal.causal_conv(x, kernel, dilation=dilation)
    return folding.convolve(
      x, kernel, fold=fold, dilation=dilation, before=past
    )

  return _Conv(
    features,
    kernel_size,
    convolve,
    kernel_size,
    fold=fold,
    gain=gain,
    stream=_stream(form, streams.Dilated, features, kernel_size, dilation),
    dtype=dtype,
    name=name,
  )


def downsample(
  features: int,
  *,
  stride: int,
  folds: tuple[int, int] = (1, 1),
  form: str = "blocks",
  dtype,
  name=None,
) -> nn.Module:
  """Strided convolution with bias: [B, T, in] -> [B, T / stride, features].

  Args:
    folds: samples to a block of the input, and of the output.
    form: 'plain', or one of the faster ones.
  """
  before, after = folds

  def convolve(x, kernel):
    if form == "plain":
      return causal.plain_strided_conv(x, kernel, stride=stride)
    if folds == (1, 1):
      return causal.strided_conv(
        x, kernel, stride=stride, convolve=_two_taps(form)
      )
    x = folding.refold(x, before, after * stride)
    return folding.convolve(x, kernel, fold=after, stride=stride, before=stride)

  return _Conv(
    features,
    2 * stride,
    convolve,
    2 * stride,
    before,
    stream=_stream(form, streams.Strided, features, stride),
    dtype=dtype,
    name=name,
  )


def upsample(
  features: int,
  *,
  stride: int,
  folds: tuple[int, int] = (1, 1),
  form: str = "blocks",
  dtype,
  name=None,
) -> nn.Module:
  """Transposed convolution with bias: [B, F, in] -> [B, F * stride, features].

  Args:
    folds: samples to a block of the input, and of the output.
    form: 'plain', or one of the faster ones.
  """
  before, after = folds

  def convolve(x, kernel):
    if form == "plain":
      return causal.plain_transposed_conv(x, kernel, stride=stride)
    if folds == (1, 1):
      return causal.transposed_conv(
        x, kernel, stride=stride, convolve=_two_taps(form)
      )
    y = folding.transposed(x, kernel, fold=before, stride=stride)
    return folding.refold(y, before * stride, after)

  return _Conv(
    features,
    2 * stride,
    convolve,
    2,
    before,
    stream=_stream(form, streams.Transposed, features, stride),
    dtype=dtype,
    name=name,
  )


def _two_taps(form: str) -> Callable[[Array, Array], Array]:
  return products.two_taps if forms.is_for_cpus(form) else causal.causal_conv


def _stream(form: str, kind: type, *shape: int) -> streams.Convolution | None:
  return kind(*shape) if form == "stream" else None


class ResidualUnit(nn.Module):
  """ELU, dilated convolution, ELU, 1x1 convolution, identity add.

  The unit starts close to the identity (see BRANCH_GAIN).

  Attributes:
    kernel_size: of the dilated convolution.
    hidden_ratio: its width over the unit's width.
    dilation: distance between its taps.
    fold: samples to a block.
    form: one of those of `forms.form_for`.
  """

  kernel_size: int
  hidden_ratio: float
  dilation: int
  fold: int = 1
  form: str = "blocks"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = x.shape[-1] // self.fold
    hidden = max(1, round(width * self.hidden_ratio))
    shared = {"fold": self.fold, "form": self.form, "dtype": self.dtype}
    y = conv(
      hidden,
      self.kernel_size,
      dilation=self.dilation,
      name="dilated",
      **shared,
    )(forms.elu(x, self.form))
    y = conv(width, 1, gain=BRANCH_GAIN, name="pointwise", **shared)(
      forms.elu(y, self.form)
    )
    return forms.add(x, y, self.form)


def residual_unit(*, rematerialise: bool) -> type[nn.Module]:
  """Returns ResidualUnit; rematerialised, it keeps its input alone."""
  return nn.remat(ResidualUnit) if rematerialise else ResidualUnit
