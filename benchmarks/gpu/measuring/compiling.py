"""Compiling one program, with what it took and what it needs."""

import dataclasses
import os
import time
from typing import Any

import jax

_HITS = "/jax/compilation_cache/cache_hits"


@dataclasses.dataclass
class Compiled:
  """A compiled program, and what compiling it was like."""

  program: Any  # of jax.stages
  facts: dict[str, Any]  # JSON: seconds, and bytes of memory


def keep_in(folder: str) -> None:
  """Has compiled programs and autotuning results kept in a folder.

  Autotuning results, a file for each kernel, are jax's default beside programs;
  said here, so that what a kill leaves of a compilation is known to be there.
  """
  os.makedirs(folder, exist_ok=True)
  jax.config.update("jax_compilation_cache_dir", folder)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
  jax.config.update(
    "jax_persistent_cache_enable_xla_caches",
    "xla_gpu_per_fusion_autotune_cache_dir",
  )


def compile_one(jitted, *arguments, options: dict | None = None) -> Compiled:
  """Lowers and compiles a jitted function for its arguments.

  Args:
    options: of XLA's compiler.
  """
  hits = []

  def note(event: str, **_) -> None:
    if event == _HITS:
      hits.append(event)

  jax.monitoring.register_event_listener(note)
  try:
    start = time.monotonic()
    lowered = jitted.lower(*arguments)
    middle = time.monotonic()
    program = lowered.compile(options)
    end = time.monotonic()
  finally:
    jax.monitoring.unregister_event_listener(note)
  facts = {
    "lower_s": round(middle - start, 3),
    "compile_s": round(end - middle, 3),
    "from_cache": bool(hits),
  }
  return Compiled(program, facts | _memory(program))


def _memory(program) -> dict[str, int]:
  stats = program.memory_analysis()
  if stats is None:
    return {}
  found = {
    "arguments_bytes": stats.argument_size_in_bytes,
    "temporary_bytes": stats.temp_size_in_bytes,
  }
  # Newer versions of jaxlib alone.
  if peak := getattr(stats, "peak_memory_in_bytes", 0):
    found["compiled_peak_bytes"] = peak
  return found
