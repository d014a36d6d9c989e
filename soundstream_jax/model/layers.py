"""The layers with parameters that generator and discriminators are made of.

Parameters have the field's standard layouts, whatever computes them: kernels
[*k, inputs / groups, outputs], transposed ones [2 * stride, inputs, outputs].

Source: paper section III-A, III-B and III-D, Fig. 3 and 4. Weight initialisation
and padding value (zero) are ours: the paper names neither.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import signal
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.model import initialise

Array = jax.Array

# Of the residual units of a stage.
DILATIONS = (1, 3, 9)
# First kernels, relative to the standard deviation that keeps the variance.
# ELU is linear near zero and audio is small: with INPUT_GAIN = 1 the encoder
# starts as a linear filter, which cannot measure loudness or spectrum, and
# stays one for long. With 100, a passage at -40 dBFS reaches the ELUs at one.
# A snake is a line near zero, too, but bends by no more than 1 / alpha at any
# level: what reaches it far above one has phases as good as random. Measured
# with `tiny` on speech for 200 steps (batch 8, waveform_weight 5, no
# discriminators): a gain of 100, 30, 10, 1 gives log-mel 1.26, 1.29, 1.32, 1.23
# and SI-SDR -34, -32, -24, -6 dB.
INPUT_GAIN = {"elu": 100.0, "snake": 1.0}
# Residual branches start small, so that a deep network starts shallow.
BRANCH_GAIN = 0.01
# Audio is small again.
OUTPUT_GAIN = 0.1


class Conv(nn.Module):
  """A convolution with bias, and weight norm on request.

  Parameters are float32: `kernel`, `bias` [features] and, with weight norm,
  `scale` [features]. Then `kernel` gives the direction alone, and `scale` starts
  at 1, the expected norm of a fresh kernel.

  Attributes:
    spec: what it computes; the signal's method knows how.
    gain: of the fresh kernel, times the standard deviation that keeps variance.
    dtype: of the convolution.
  """

  spec: spec_lib.Spec
  gain: float = 1.0
  weight_norm: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: signal.Signal) -> signal.Signal:
    parameters = functools.partial(self._parameters, x.channels)
    return x.convolved(self.spec, parameters, self.variable, dtype=self.dtype)

  def _parameters(self, channels: int) -> tuple[Array, Array]:
    """Declares or reads kernel and bias."""
    s, dtype = self.spec, precision.of_parameters(self.dtype)
    inputs = channels // s.groups
    std = self.gain * (s.taps_per_output * inputs) ** -0.5
    shape = (*s.kernel, inputs, s.features)
    kernel = self.param("kernel", initialise.normal(std), shape, dtype)
    zeros = initialise.constant(0.0)
    bias = self.param("bias", zeros, (s.features,), dtype)
    if self.weight_norm:
      ones = initialise.constant(1.0)
      scale = self.param("scale", ones, (s.features,), dtype)
      ratio = scale / _column_norms(kernel)
      kernel = kernel * ratio.reshape((1,) * (kernel.ndim - 1) + (-1,))
    return kernel.astype(self.dtype), bias


def activated(
  x: signal.Signal, kind: str, *, dtype: Any, name: str
) -> signal.Signal:
  """The activation before a layer of the generator.

  Args:
    x: the layer's input.
    kind: of config.model.activation.
    dtype: of the convolutions.
    name: of the layer.
  """
  if kind == "elu":
    return x.elu()
  return Snake(dtype, name=f"{name}_snake")(x)


class Snake(nn.Module):
  """The activation snake; `alpha` [C], float32, starts at 1 as in DAC."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: signal.Signal) -> signal.Signal:
    parameters = functools.partial(self._alpha, x.channels)
    return x.snake(parameters, self.variable)

  def _alpha(self, channels: int) -> Array:
    dtype = precision.of_parameters(self.dtype)
    return self.param("alpha", initialise.constant(1.0), (channels,), dtype)


def residual_units(
  x: signal.Signal,
  *,
  kernel_size: int,
  hidden_ratio: float,
  activation: str,
  rematerialise: bool,
  dtype: Any,
  name: str,
) -> signal.Signal:
  """The three residual units of a stage (Fig. 3).

  Args:
    x: [B, T, C].
    kernel_size: of `ResidualUnit`.
    hidden_ratio: of `ResidualUnit`.
    activation: of `activated`.
    rematerialise: keeps the units' inputs alone for the gradient.
    dtype: of the convolutions.
    name: that of the units begins with.
  """
  unit = nn.remat(ResidualUnit) if rematerialise else ResidualUnit
  for index, dilation in enumerate(DILATIONS):
    x = unit(
      kernel_size,
      hidden_ratio,
      dilation,
      activation,
      dtype,
      name=f"{name}_unit{index}",
    )(x)
  return x


class ResidualUnit(nn.Module):
  """Fig. 3: ELU, dilated convolution, ELU, 1x1 convolution, identity add.

  Or another activation in ELU's place.

  The unit starts close to the identity (see BRANCH_GAIN).

  Attributes:
    kernel_size: of the dilated convolution.
    hidden_ratio: its width over the unit's width.
    dilation: distance between its taps.
    activation: of `activated`.
  """

  kernel_size: int
  hidden_ratio: float
  dilation: int
  activation: str = "elu"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: signal.Signal) -> signal.Signal:
    conv = functools.partial(Conv, dtype=self.dtype)
    hidden = max(1, round(x.channels * self.hidden_ratio))
    dilated = spec_lib.causal(hidden, self.kernel_size, dilation=self.dilation)
    pointwise = spec_lib.causal(x.channels, 1)
    y = self._activated(x, "dilated")
    y = conv(dilated, name="dilated")(y)
    y = self._activated(y, "pointwise")
    y = conv(pointwise, gain=BRANCH_GAIN, name="pointwise")(y)
    return x + y

  def _activated(self, x: signal.Signal, name: str) -> signal.Signal:
    return activated(x, self.activation, dtype=self.dtype, name=name)


def _column_norms(kernel: Array) -> Array:
  """Norm of each output's weights [features]; the slope is finite at zero."""
  squares = jnp.sum(jnp.square(kernel), axis=tuple(range(kernel.ndim - 1)))
  return jnp.sqrt(squares + 1e-12)
