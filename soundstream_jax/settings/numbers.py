"""Numbers as people type them: what is exact is taken, for the rest an example.

1e6, 1_000_000, 1000000.0 and 0xF4240 are one whole number; 10k is not.
"""

import contextlib
import decimal
import math
import re
from typing import Any

from soundstream_jax import errors

_EXAMPLES = {
  bool: "a switch (true or false)",
  int: "a whole number, as in 1000000 or 1e6",
  float: "a number, as in 0.5 or 1e-4",
  tuple: "a tuple of numbers, as in '(2,4)' or '(8,)'",
}
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
# What absl says of a text that Python does not read, and of which type.
_OF_ABSL = re.compile(
  r"flag --(\w+)=(.*): (?:invalid literal for (int)|could not convert)",
  re.DOTALL,
)


def whole(text: str) -> int:
  """Reads a whole number in any notation that is exact.

  Raises:
    ValueError: it is none, or a fraction.
  """
  for base in (10, 0):  # 007 and 0x10
    with contextlib.suppress(ValueError):
      return int(text, base)
  try:
    value = decimal.Decimal(text)
  except decimal.InvalidOperation:
    raise ValueError(text) from None
  # 1e999999999 is whole, and takes all memory there is.
  if not value.is_finite() or value.adjusted() > 18 or value != int(value):
    raise ValueError(text)
  return int(value)


def example(text: str, kind: type) -> str:
  """Says what to type for a text that is no value of a type."""
  wanted = _EXAMPLES.get(kind, kind.__name__)
  match = re.fullmatch(
    r"\s*(\d+(?:\.\d+)?(?:e\+?\d)?)\s*([kmg]?)\s*", text.lower()
  )
  if match and kind in (int, float):
    number = decimal.Decimal(match[1]) * _FACTORS[match[2]]
    if kind is float or number == int(number):
      return f"{wanted}: for {text.strip()} write {number.normalize():f}"
  return wanted


def percent(share: float) -> str:
  """Returns a share from 0 to 1 as people write it: "100 %", "2.5 %".

  What is not nothing is not called 0, nor what is not all 100.
  """
  value = 100 * share
  if 0 < value < 0.001:
    return "under 0.001 %"
  if 99 < value < 100:
    return f"{math.floor(10 * value) / 10:.1f} %"
  digits = 0
  while value and value < 10 ** (1 - digits) and digits < 4:
    digits += 1
  return f"{value:.{digits}f} %"


def flag_error(error: Exception) -> errors.InputError:
  """Returns the line for a flag that absl refuses by a `flags.Error`."""
  match: Any = _OF_ABSL.match(str(error))
  if match is None:
    return errors.InputError(str(error))
  name, text, of_int = match.groups()
  wanted = example(text, int if of_int else float)
  return errors.InputError(f"--{name}={text} is not {wanted}.")
