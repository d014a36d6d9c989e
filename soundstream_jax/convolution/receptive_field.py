"""How far back a network of convolutions looks: a sum over their specs.

A method that computes no values: it carries through the network itself how many
samples of the past an output has seen.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from soundstream_jax.convolution import plain
from soundstream_jax.convolution import signal as signal_lib


class _Past(NamedTuple):
  """Instead of values: what each of them depends on."""

  samples: int  # of the past
  per_value: int  # samples from one value to the next

  def astype(self, dtype) -> "_Past":
    del dtype
    return self


@dataclasses.dataclass(frozen=True)
class ReceptiveField(plain.Plain):
  """A `signal.Method` of causal layers; it asks for no parameters."""

  def convolve(self, spec, x, parameters, memory):
    del parameters, memory
    samples, step = x.values
    samples += spec.past * step
    step = step // spec.stride if spec.transposed else step * spec.stride
    return _Past(samples, step)

  def snake(self, x, parameters, memory):
    del parameters, memory
    return x.values

  def elementwise(self, function, *values):
    del function
    return max(values)


def past_samples(
  network: Callable[[signal_lib.Signal], signal_lib.Signal],
  *,
  samples_per_value: int = 1,
) -> int:
  """Returns how many samples before a present one an output depends on.

  Args:
    network: signal to signal; causal.
    samples_per_value: at its input, 1 where that is audio.
  """
  start = signal_lib.Signal(
    _Past(0, samples_per_value),
    space=(1,),
    channels=1,
    granule=1,
    method=ReceptiveField(),
  )
  return network(start).values.samples
