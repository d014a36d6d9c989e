"""A convolution as a specification: its shape, never how it is computed.

Source: paper section III-A, III-B and III-D, Fig. 3 and 4.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Spec:
  """A convolution with bias; kernels are [*kernel, inputs / groups, features].

  Attributes:
    features: channels of the output.
    kernel: taps per axis, of one axis (time) or two (time, frequency).
    strides: per axis; none is 1.
    padding: zeros before and after, per axis; none is no padding.
    dilation: samples between neighbouring taps.
    groups: equal parts of the channels that do not see each other.
    transposed: input f reaches outputs from f * stride on; outputs that the next
      input would complete are cut, and there is no padding.
  """

  features: int
  kernel: tuple[int, ...]
  strides: tuple[int, ...] = ()
  padding: tuple[tuple[int, int], ...] = ()
  dilation: int = 1
  groups: int = 1
  transposed: bool = False

  def __post_init__(self):
    axes = len(self.kernel)
    object.__setattr__(self, "strides", self.strides or (1,) * axes)
    object.__setattr__(self, "padding", self.padding or ((0, 0),) * axes)

  @property
  def axes(self) -> int:
    return len(self.kernel)

  @property
  def stride(self) -> int:
    """Of the last axis."""
    return self.strides[-1]

  @property
  def span(self) -> int:
    """Samples from the first tap to the last one, of the last axis."""
    return (self.kernel[-1] - 1) * self.dilation + 1

  @property
  def taps_per_output(self) -> int:
    """Taps that an output sees, each of which meets all its inputs."""
    if self.transposed:
      return self.kernel[0] // self.stride
    return math.prod(self.kernel)

  @property
  def is_causal(self) -> bool:
    """Whether it is over time alone, and sees no sample of the future."""
    if self.axes > 1 or self.groups > 1:
      return False
    return self.transposed or self.padding == ((self.span - self.stride, 0),)

  @property
  def has_two_taps(self) -> bool:
    """Whether it is causal with kernel 2 * stride.

    Then it is a convolution of two taps between groups of `stride` samples.
    """
    whole = self.kernel == (2 * self.stride,) and self.dilation == 1
    return self.is_causal and whole

  @property
  def has_whole_strides(self) -> bool:
    """Whether its kernel is whole groups of `stride` samples, two at least."""
    whole = self.kernel[0] % self.stride == 0 and self.dilation == 1
    return self.is_causal and whole and self.kernel[0] > self.stride

  @property
  def past(self) -> int:
    """Input samples before the present ones that a causal output sees.

    The context of a network is a sum over these (see `receptive_field`).
    """
    if self.transposed:
      return self.kernel[0] // self.stride - 1
    return self.padding[0][0]

  def outputs(self, space: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the lengths of the output's axes, of those of the input."""
    if self.transposed:
      return (space[0] * self.stride,)
    spans = (*self.kernel[:-1], self.span)
    return tuple(
      (length + sum(padding) - span) // stride + 1
      for length, padding, span, stride in zip(
        space, self.padding, spans, self.strides, strict=True
      )
    )


def causal(features: int, taps: int, *, dilation: int = 1) -> Spec:
  """A convolution over time that sees the past and the present alone."""
  past = (taps - 1) * dilation
  return Spec(features, (taps,), padding=((past, 0),), dilation=dilation)


def strided(features: int, taps: int, stride: int) -> Spec:
  """A causal convolution with one output per stride, of the last `taps` samples.

  Output f sees samples (f + 1) * stride - taps up to (f + 1) * stride, exclusive.
  """
  padding = ((taps - stride, 0),)
  return Spec(features, (taps,), strides=(stride,), padding=padding)


def downsampling(features: int, stride: int) -> Spec:
  """A causal convolution with kernel 2 * stride, one output per stride.

  Output f sees samples (f - 1) * stride up to (f + 1) * stride, exclusive.
  """
  return strided(features, 2 * stride, stride)


def upsampling(features: int, stride: int) -> Spec:
  """A causal transposed convolution with kernel 2 * stride.

  Input f reaches outputs f * stride up to (f + 2) * stride, exclusive.
  """
  return Spec(features, (2 * stride,), strides=(stride,), transposed=True)
