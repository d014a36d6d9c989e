"""A signal on its way through a network, and what a method of convolving it is.

B: clips, C: channels. As networks see it a signal is [B, *space, C], where space
is time, or time and frequency. How its values lie in memory is its method's.
"""

from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax

from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array


class Method(Protocol):
  """One way to compute convolutions; all give the same function.

  A frozen dataclass: programs are cached by it. `plain.Plain` is the definition,
  from which the others inherit what they do not compute in a way of their own.
  """

  def enter(self, x: Array, *, channels: int, granule: int) -> Array:
    """Lays out x [B, *space, C] for a first layer of so many channels."""

  def lay_out(self, spec: spec_lib.Spec, x: "Signal") -> Array:
    """Returns the values of x as `convolve` takes them, in their own dtype."""

  def convolve(
    self,
    spec: spec_lib.Spec,
    x: "Signal",
    parameters: Callable[[], tuple[Array, Array]],
    memory: Callable[..., Any],
  ) -> Array:
    """Returns the values of a convolution with bias, in a layout of its choice.

    Args:
      spec: what to compute.
      x: the input, as `lay_out` returned it.
      parameters: returns kernel [*k, inputs / groups, features] in the dtype of
        x, and bias [features], float32 (or float64).
      memory: (collection, name, initial, *arguments) -> a variable of flax, which
        outlives the call. For methods that continue where they stopped.
    """

  def elementwise(
    self, function: Callable[..., Array], *values: Array
  ) -> Array:
    """Applies a function of single numbers to values of one layout."""

  def elu(self, values: Array) -> Array:
    """The activation between layers of the generator."""

  def snake(
    self,
    x: "Signal",
    parameters: Callable[[], Array],
    memory: Callable[..., Any],
  ) -> Array:
    """The other one (see `snake`), whose parameters are alpha [C], float32.

    Memory is that of `convolve`.
    """

  def per_channel(self, vector: Array, x: "Signal") -> Array:
    """Returns a vector [C] as it broadcasts over the values of x."""

  def normalise(
    self,
    x: "Signal",
    scale: Array,
    bias: Array,
    then: Callable[[Array], Array],
  ) -> Array:
    """Layer norm of the values at each time step, and what is applied then.

    Args:
      x: the input.
      scale: [C], float32 (or float64).
      bias: the same.
      then: a function of single numbers, of the module that defines it.
    """

  def leave(self, x: "Signal") -> Array:
    """The inverse of `enter`: [B, *space, C]."""


@flax.struct.dataclass
class Signal:
  """Values, and what they are of.

  Attributes:
    values: as the method lays them out.
    space: lengths of the space axes.
    channels: C.
    granule: neighbours of the last space axis that stay together through the
      layers to come (see `granules`).
    method: what computes.
  """

  values: Array
  space: tuple[int, ...] = flax.struct.field(pytree_node=False)
  channels: int = flax.struct.field(pytree_node=False)
  granule: int = flax.struct.field(pytree_node=False)
  method: Method = flax.struct.field(pytree_node=False)

  def convolved(self, spec, parameters, memory, *, dtype) -> "Signal":
    """Returns the convolution that a spec describes, computed in a dtype.

    Spec, parameters and memory are those of `Method.convolve`.
    """
    values = self.method.lay_out(spec, self).astype(dtype)
    x = self.replace(values=values)
    return self.replace(
      values=self.method.convolve(spec, x, parameters, memory),
      space=spec.outputs(self.space),
      channels=spec.features,
      granule=granule_after(spec, self.granule),
    )

  def elu(self) -> "Signal":
    return self.replace(values=self.method.elu(self.values))

  def snake(self, parameters, memory) -> "Signal":
    """Parameters and memory are those of `Method.snake`."""
    values = self.method.snake(self, parameters, memory)
    return self.replace(values=values)

  def map(self, function: Callable[[Array], Array]) -> "Signal":
    """Applies a function of single numbers."""
    return self.replace(values=self.method.elementwise(function, self.values))

  def __add__(self, other: "Signal") -> "Signal":
    values = self.method.elementwise(jax.numpy.add, self.values, other.values)
    return self.replace(values=values)

  def normalised(
    self, scale: Array, bias: Array, then: Callable[[Array], Array]
  ) -> "Signal":
    """Scale, bias and then are those of `Method.normalise`."""
    values = self.method.normalise(self, scale, bias, then)
    return self.replace(values=values)

  def leave(self) -> Array:
    """Returns [B, *space, C]."""
    return self.method.leave(self)


def enter(x: Array, method: Method, *, channels: int, granule: int) -> Signal:
  """Returns x [B, *space, C] as the signal that a network takes.

  Args:
    method: what computes its layers.
    channels: of the first layer's output.
    granule: of `granules.of`.
  """
  return Signal(
    method.enter(x, channels=channels, granule=granule),
    space=x.shape[1:-1],
    channels=x.shape[-1],
    granule=granule,
    method=method,
  )


def granule_after(spec: spec_lib.Spec, granule: int) -> int:
  """Returns the granule of a layer's output."""
  if spec.transposed:
    return granule * spec.stride
  return max(1, granule // spec.stride)
