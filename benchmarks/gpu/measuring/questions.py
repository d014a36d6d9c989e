"""Open questions about single layers: each variant of one is a measurement."""

import functools
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import layers, single, steps, variants

# Of a flag that a version of XLA does not know; the question is then answered.
UNKNOWN = "unknown flag"
# Flags of XLA that are tried on single layers, by a short name.
FLAGS = {"conv fusion": "xla_gpu_experimental_enable_conv_fusion"}
# With which variants, of the heaviest layer.
FLAGGED = (
  ("transposed", "as written"),
  ("transposed", "folded"),
  ("dilated", "rows"),
  ("strided", "as written"),
)


def measure(
  given: conditions_lib.Conditions,
  *,
  question: str,
  variant: str,
  name: str,
  flag: str = "",
) -> Iterator[dict[str, Any]]:
  """Times a variant of a layer, forward and toward input and kernel.

  Args:
    given: the run's.
    question: of variants.OF.
    variant: of the question.
    name: of the layer, as in `layers`.
    flag: of FLAGS, that is on.
  """
  steps.forget()
  layer = single.find(given, name, "plain")
  function = variants.OF[question][variant]
  dtype = layer.x.values.dtype
  x = layers.noise(layer.x.values.shape, dtype)
  kernel = layers.noise(layer.kernel_shape, dtype)
  yield {"layer": name, "question": question, "variant": variant, "flag": flag}
  options = {FLAGS[flag]: True} if flag else None
  if options and not _is_known(options):
    yield {"answer": UNKNOWN}
    return
  times = layers.directions(
    functools.partial(_apply, function, layer.spec),
    x,
    kernel,
    compiler_options=options,
  )
  yield layers.rates(times, flops=layer.flops, moved=layer.bytes)


def _apply(function, spec, x, kernel):
  return function(x, kernel, spec)


def _is_known(options: dict[str, bool]) -> bool:
  """Whether this XLA has the flag."""
  try:
    jax.jit(lambda x: x + 1, compiler_options=options)(1.0)
  except Exception as error:  # whose class is not the same in all versions
    if "No such compile option" in str(error):
      return False
    raise
  return True
