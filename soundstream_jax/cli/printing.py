"""Lines that commands print: sizes, bitrates, times, and damage."""

import dataclasses
import os
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction

from soundstream_jax import console, errors, rates
from soundstream_jax.codec.sstr import reader

# Lines of damage that are printed; a long file may have thousands.
MAX_REPORTED = 20


@dataclasses.dataclass(frozen=True)
class Done:
  """What became of one file."""

  seconds: float  # of audio
  lines: tuple[str, ...]  # what was read and what was written
  damages: tuple[object, ...] = ()  # of the input; each is a line


def say(lines: Iterable[str], output: str) -> None:
  """Prints what a command did; on stderr where OUTPUT is standard output."""
  taken = output == "-" or _is_standard_output(output)
  print("\n".join(lines), file=sys.stderr if taken else sys.stdout)


def _is_standard_output(path: str) -> bool:
  """True for /dev/stdout and its kind, also where it leads to a file."""
  try:
    return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
  except (AttributeError, OSError, ValueError):
    return False


def nominal(header: reader.Header) -> str:
  """Returns the bitrate of a channel's codes."""
  each = " a channel" if header.channels > 1 else ""
  return f"{rates.describe_bps(header.bitrate_bps)} bit/s nominal{each}"


def bitrate(header: reader.Header, size: int, source_samples: int) -> str:
  """Returns the bitrates of a file's codes and of all its `size` bytes."""
  if not source_samples:
    return f"{nominal(header)}, no audio"
  actual = Fraction(8 * size * header.source_rate_hz, source_samples)
  return f"{nominal(header)}, {float(actual):.1f} bit/s on disk"


def count(number: int, noun: str) -> str:
  """Returns a number with its noun, in the plural but for one."""
  return f"{number} {noun}{'' if number == 1 else 's'}"


def seconds(samples: int, rate_hz: int) -> str:
  """Returns how long samples last."""
  return f"{samples / rate_hz:.3f} s"


def report_damage(source: object, damages: Sequence[object]) -> int:
  """Names damage on stderr, a line each, the first `MAX_REPORTED` of it.

  Returns:
    The exit code: that of bad input where there is damage, although what is
    whole was used.
  """
  source = console.shown(str(source))
  for damage in damages[:MAX_REPORTED]:
    print(f"damaged: {source}: {damage}", file=sys.stderr)
  if len(damages) > MAX_REPORTED:
    more = len(damages) - MAX_REPORTED
    print(f"damaged: {source}: {more} places more", file=sys.stderr)
  return errors.EXIT_BAD_INPUT if damages else 0
