"""Devices that jax is told to use, opened once; what is not here is one line."""

import jax

from soundstream_jax import errors


def check() -> None:
  """Opens the devices, before anything else asks for one.

  Raises:
    InputError: JAX_PLATFORMS names devices that this machine does not have, or
      that jax is not installed for. Without it jax takes what there is.
  """
  asked = _asked()
  try:
    jax.local_devices()
  except (RuntimeError, AssertionError) as error:
    if not asked:
      raise
    # Where jax has a word to say; an assertion of its own has none.
    reason = " ".join(str(error).split()).partition(" (set JAX_PLATFORMS")[0]
    reason = reason.rstrip(".")
    raise errors.InputError(
      f"JAX_PLATFORMS={asked} cannot be had on this machine"
      f"{f' ({reason})' if reason else ''}. Unset it to take what there is, or "
      f"set it to cpu.{_INSTALL.get(asked.partition(',')[0], '')}"
    ) from None


def _asked() -> str | None:
  """Returns JAX_PLATFORMS as jax has read it."""
  return jax.config.jax_platforms


_INSTALL = {
  "cuda": " A GPU needs its driver and pip install 'jax[cuda12]'.",
  "gpu": " A GPU needs its driver and pip install 'jax[cuda12]'.",
  "rocm": " An AMD GPU needs its driver and jax's plugin for ROCm.",
  "tpu": " A TPU needs pip install 'soundstream_jax[tpu]', and one process.",
}
