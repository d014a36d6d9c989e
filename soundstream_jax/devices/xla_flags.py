"""Flags of XLA's compiler that suit a function, where the user sets no other."""

import os


def on_cpus(platform: str, **flags: int) -> dict[str, int] | None:
  """Returns `compiler_options` of `jax.jit`: these flags, on a CPU.

  A flag that the user's XLA_FLAGS set holds.
  """
  if platform != "cpu":
    return None
  set_already = os.environ.get("XLA_FLAGS", "")
  return {k: v for k, v in flags.items() if k not in set_already} or None
