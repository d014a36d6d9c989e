"""Single layers, and what the device can do at best."""

import functools
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import layers, steps, timing
from soundstream_jax.convolution import methods

Values = dict[str, Any]

# Of a square matrix, and of what is copied, in bytes; large enough for the
# device, and small enough not to be waited for.
_PRODUCT = {"cuda": 8_192, "cpu": 512}
_COPIED = {"cuda": 1 << 30, "cpu": 1 << 22}


def peaks(given: conditions_lib.Conditions) -> Iterator[Values]:
  """Measures the rates that a limit is made of."""
  steps.forget()
  yield timing.peaks(
    size=_PRODUCT[given.device], copied_bytes=_COPIED[given.device]
  )


def layer(
  given: conditions_lib.Conditions, *, name: str, form: str
) -> Iterator[Values]:
  """Times a layer in a method, in all three directions."""
  steps.forget()
  found = find(given, name, form)
  s = found.spec
  yield {
    "count": found.count,
    "clips": found.x.values.shape[0],
    "space": found.x.space,
    "inputs": found.x.channels,
    "outputs": s.features,
    "taps": s.kernel,
    "strides": s.strides,
    "dilation": s.dilation,
    "groups": s.groups,
    "transposed": s.transposed,
    "laid_out": found.x.values.shape,
  }
  yield layers.measure(found)


def find(
  given: conditions_lib.Conditions, name: str, form: str
) -> layers.Layer:
  """Returns the layer of a name, its input laid out as by a method."""
  return _layers(given.to_json(), form)[name]


@functools.cache
def _layers(given: str, form: str) -> dict[str, layers.Layer]:
  config = conditions_lib.from_json(given).config()
  found = layers.of_model(config, methods.METHODS[form])
  return {one.name: one for one in found}
