"""Flags of XLA's compiler that suit a function, where the user sets no other."""

import os
from collections.abc import Mapping
from typing import Any


def on_cpus(platform: str, **flags: int) -> dict[str, int] | None:
  """Returns `compiler_options` of `jax.jit`: these flags, on a CPU.

  A flag that the user's XLA_FLAGS set holds.
  """
  return unset(flags) if platform == "cpu" else None


def unset(flags: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns those of some flags that the user's XLA_FLAGS do not set."""
  return {k: v for k, v in flags.items() if of_user(k) is None} or None


def of_user(flag: str) -> str | None:
  """Returns the value of a flag in XLA_FLAGS, the last one; None: in none."""
  value = None
  for word in os.environ.get("XLA_FLAGS", "").split():
    name, _, text = word.lstrip("-").partition("=")
    if name == flag:
      value = text
  return value
