"""The definition of every convolution: XLA's own, as written."""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax import precision
from soundstream_jax.convolution import frame_norm
from soundstream_jax.convolution import signal as signal_lib
from soundstream_jax.convolution import snake as snake_lib
from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Plain:
  """A `signal.Method`: values lie as they are seen, [B, *space, C]."""

  def enter(self, x, *, channels, granule):
    del channels, granule
    return x

  def lay_out(self, spec, x):
    del spec
    return x.values

  def convolve(self, spec, x, parameters, memory):
    del memory
    spec, values = sampled(spec, x.values)
    kernel, bias = parameters()
    return precision.add_bias(convolve(values, kernel, spec), bias)

  def elementwise(self, function, *values):
    return function(*values)

  def elu(self, values):
    return self.elementwise(nn.elu, values)

  def snake(self, x, parameters, memory):
    del memory
    alpha = self.per_channel(parameters(), x)
    return snake_lib.snake(x.values, alpha)

  def per_channel(self, vector, x):
    return vector.reshape((1,) * (x.values.ndim - 1) + (-1,))

  def normalise(self, x, scale, bias, then):
    y = precision.widened(x.values)
    y = y - self.mean_per_frame(y)
    variance = self.mean_per_frame(jnp.square(y))
    y = y * lax.rsqrt(variance + frame_norm.EPSILON)
    y = y * self.per_channel(scale, x) + self.per_channel(bias, x)
    return self.elementwise(then, y.astype(x.values.dtype))

  def mean_per_frame(self, values):
    """The mean over all but clips and time, whose axes stay."""
    axes = tuple(range(2, values.ndim))
    return jnp.mean(values, axis=axes, keepdims=True)

  def leave(self, x: signal_lib.Signal):
    return x.values


def sampled(spec: spec_lib.Spec, x: Array) -> tuple[spec_lib.Spec, Array]:
  """Returns an equal convolution without strides, where it has one tap.

  Such a convolution sees every stride-th value of x [B, *space, C] alone.
  """
  if not is_sampled(spec):
    return spec, x
  steps = tuple(slice(None, None, stride) for stride in spec.strides)
  return unstrided(spec), x[:, *steps]


def is_sampled(spec: spec_lib.Spec) -> bool:
  """Whether it has one tap and strides, and is none that is transposed."""
  has_one_tap = math.prod(spec.kernel) == 1 and not any(map(any, spec.padding))
  return has_one_tap and max(spec.strides) > 1 and not spec.transposed


def unstrided(spec: spec_lib.Spec) -> spec_lib.Spec:
  """Returns the same without strides."""
  return dataclasses.replace(spec, strides=(1,) * spec.axes)


def convolve(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """x [B, *space, in] with kernel [*k, in / groups, out] -> [B, *space', out].

  lax.conv_general_dilated, channels last, without bias.
  """
  letters = "HW"[-spec.axes :]
  numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
  if spec.transposed:
    before, after = spec.kernel[0] - 1, spec.stride - 1
    return lax.conv_general_dilated(
      x,
      kernel[::-1],
      window_strides=(1,),
      padding=((before, after),),
      lhs_dilation=spec.strides,
      dimension_numbers=numbers,
    )
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=spec.strides,
    padding=spec.padding,
    rhs_dilation=(*(1,) * (spec.axes - 1), spec.dilation),
    dimension_numbers=numbers,
    feature_group_count=spec.groups,
  )
