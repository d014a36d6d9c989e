"""Compiled step: compiled at its first call, with a line about time and memory."""

import functools
import time
from typing import Any

import jax
from absl import logging

from soundstream_jax.devices import gpu_flags, host_memory, xla_flags

_GIB = 2**30

# jax's name of what happens when a program comes from the persistent cache.
_HIT = "/jax/compilation_cache/cache_hits"


def options(platform: str, *, devices: int = 1) -> dict[str, Any] | None:
  """Returns the compiler options that suit a training step on a platform.

  On a CPU, LLVM at its first level: the step's loops take a fifth less time to
  compile and none more to run (see benchmarks/NOTES.md). On GPUs those of
  `gpu_flags`.

  Args:
    platform: 'cpu', 'gpu' or 'tpu'.
    devices: that compute the step.
  """
  if platform == "cpu":
    return xla_flags.on_cpus(platform, xla_backend_optimization_level=1)
  return gpu_flags.options(platform, devices)


class Compiled:
  """Calls a jitted function, compiled once, for its abstract arguments.

  Arguments of any other shape, dtype or sharding are refused: nothing is ever
  compiled a second time.

  Attributes:
    name: for the log.
  """

  def __init__(
    self,
    function,
    arguments: tuple[Any, ...],
    *,
    name: str,
    details: str = "",
  ):
    """Builds it; nothing is compiled yet.

    Args:
      function: jitted.
      arguments: shapes with shardings.
      name: for the log.
      details: on how it is compiled, for the log.
    """
    self.name = name
    self._details = details
    self._function = function
    self._arguments = arguments
    self._compiled = None

  @property
  def is_compiled(self) -> bool:
    return self._compiled is not None

  def compile(self) -> None:
    """Compiles, unless that is done."""
    if not self.is_compiled:
      lowered, lowering = _timed(self._function.lower, *self._arguments)
      hits = _hits()
      self._compiled, compiling = _timed(lowered.compile)
      from_cache = _hits() > hits
      host_memory.close_holes()  # those that the compiler left
      logging.info(
        "%s: compiled in %.0f s (%.0f to trace, %.0f %s%s)%s",
        self.name,
        lowering + compiling,
        lowering,
        compiling,
        "from the cache" if from_cache else "to compile",
        f", {self._details}" if self._details else "",
        _memory(self._compiled),
      )

  def __call__(self, *arguments):
    self.compile()
    return self._compiled(*arguments)


def _timed(function, *arguments) -> tuple[Any, float]:
  """Returns what a function returns, and its seconds."""
  start = time.monotonic()
  result = function(*arguments)
  return result, time.monotonic() - start


@functools.cache
def _heard() -> list[str]:
  """Returns the hits of jax's persistent cache since the first call."""
  heard = []

  def listen(event: str, **_) -> None:
    if event == _HIT:
      heard.append(event)

  jax.monitoring.register_event_listener(listen)
  return heard


def _hits() -> int:
  return len(_heard())


def _memory(compiled) -> str:
  """Says what memory one device needs, where the backend tells."""
  stats = compiled.memory_analysis()
  if stats is None:
    return ""
  # Outputs that take the place of donated arguments need no memory of theirs.
  kept = stats.argument_size_in_bytes + (
    stats.output_size_in_bytes - stats.alias_size_in_bytes
  )
  temporary = stats.temp_size_in_bytes
  return (
    f"; memory per device {(kept + temporary) / _GIB:.2f} GiB: "
    f"{kept / _GIB:.2f} of state and batch, {temporary / _GIB:.2f} temporary"
  )
