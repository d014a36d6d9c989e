"""The one table of methods: values of config.form, and the device of each."""

import functools
import pathlib
from collections.abc import Callable

import jax

from soundstream_jax import errors
from soundstream_jax.convolution import plain
from soundstream_jax.convolution import signal as signal_lib
from soundstream_jax.convolution.cpu import method as cpu
from soundstream_jax.convolution.gpu import method as gpu
from soundstream_jax.convolution.tpu import method as tpu

# By value of config.form, which is listed and explained in config.py.
METHODS: dict[str, signal_lib.Method] = {
  "plain": plain.Plain(),
  "blocks": cpu.Cpu(),
  "rows": cpu.CpuAvx512(),
  "lanes": tpu.Tpu(),
  "gpu": gpu.Gpu(),
}

# What config.form='auto' takes, the first that fits: a platform ('' is any), what
# the machine must have, the value of config.form.
DEVICES: tuple[tuple[str, Callable[[], bool], str], ...] = (
  ("tpu", lambda: True, "lanes"),
  ("gpu", lambda: True, "gpu"),
  ("cpu", lambda: has_avx512(), "rows"),
  ("", lambda: True, "blocks"),
)


def choose(form: str, platform: str | None = None) -> signal_lib.Method:
  """Returns the method of config.form.

  Args:
    form: a key of METHODS, or 'auto'.
    platform: 'cpu', 'gpu' or 'tpu', what 'auto' is for; None is the default
      device's.

  Raises:
    InputError: no such method.
  """
  if form == "auto":
    platform = platform or jax.default_backend()
    form = next(
      form
      for device, fits, form in DEVICES
      if device in ("", platform) and fits()
    )
  if form not in METHODS:
    raise errors.InputError(
      f"form={form!r} is no method. Use one of auto, {', '.join(METHODS)}."
      f"{errors.nearest(form, METHODS)}"
    )
  return METHODS[form]


@functools.cache
def has_avx512() -> bool:
  """Whether the processor computes vectors of 512 bits; False if unknown."""
  try:
    return "avx512f" in pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:  # not Linux
    return False
