"""Compiled step: compiled at its first call, with a line about time and memory."""

import time
from typing import Any

from absl import logging

from soundstream_jax.devices import host_memory, xla_flags

_GIB = 2**30


def options(platform: str) -> dict[str, int] | None:
  """Returns the compiler options that suit a training step on a platform.

  On a CPU, LLVM at its first level: the step's loops take a fifth less time to
  compile and none more to run (see benchmarks/NOTES.md).
  """
  return xla_flags.on_cpus(platform, xla_backend_optimization_level=1)


class Compiled:
  """Calls a jitted function, compiled once, for its abstract arguments.

  Arguments of any other shape, dtype or sharding are refused: nothing is ever
  compiled a second time.

  Attributes:
    name: for the log.
  """

  def __init__(self, function, arguments: tuple[Any, ...], *, name: str):
    """Args: function is jitted, arguments are shapes with shardings."""
    self.name = name
    self._function = function
    self._arguments = arguments
    self._compiled = None

  @property
  def is_compiled(self) -> bool:
    return self._compiled is not None

  def compile(self) -> None:
    """Compiles, unless that is done."""
    if not self.is_compiled:
      start = time.monotonic()
      self._compiled = self._function.lower(*self._arguments).compile()
      seconds = time.monotonic() - start
      host_memory.close_holes()  # those that the compiler left
      logging.info(
        "%s: compiled in %.0f s%s", self.name, seconds, _memory(self._compiled)
      )

  def __call__(self, *arguments):
    self.compile()
    return self._compiled(*arguments)


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
