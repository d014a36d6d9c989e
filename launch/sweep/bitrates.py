"""Sweeps that fix a bitrate or a depth: which points do not have it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from soundstream_jax import errors, rates

# log2 of the codebook sizes that are proposed: 2 to 65536.
_BITS = range(1, 17)


def check(sweep: Any, points: Sequence[Any]) -> None:
  """Refuses the first point that has not what its sweep fixes.

  Args:
    sweep: with `name`, `fixes` and `bitrate_bps`.
    points: with `name` and `config`.

  Raises:
    InputError: with the nearest that has it.
  """
  if sweep.fixes == "bitrate":
    for point in points:
      _check_bitrate(sweep, point)
  if sweep.fixes == "depth":
    depth = points[0].config.quantizer.num_quantizers
    for point in points:
      found = point.config.quantizer.num_quantizers
      if found != depth:
        raise errors.InputError(
          f"sweep {sweep.name} fixes the depth, and point {point.name} has "
          f"quantizer.num_quantizers={found}, not {depth}. Use {depth}."
        )


def _check_bitrate(sweep: Any, point: Any) -> None:
  has = point.config.rates
  wanted = Fraction(sweep.bitrate_bps)
  if has.bitrate_bps() == wanted:
    return
  raise errors.InputError(
    f"sweep {sweep.name} fixes {rates.describe_bps(wanted)} bit/s, and point "
    f"{point.name} has {rates.describe_bps(has.bitrate_bps())} "
    f"({rates.describe_bps(has.frame_rate_hz)} frames/s x "
    f"{has.num_quantizers} quantizers x {has.bits_per_code} bits). "
    f"{_nearest(has, wanted)}"
  )


def _nearest(has: rates.Rates, wanted: Fraction) -> str:
  """Says which quantizers are nearest to these and have the bitrate."""
  per_frame = wanted / has.frame_rate_hz
  possible = [bits for bits in _BITS if (per_frame / bits).denominator == 1]
  if not possible:
    layers = max(1, round(per_frame / has.bits_per_code))
    nearest = has.bitrate_bps(layers)
    return (
      "No number of whole bits makes that at this sample rate and these "
      f"strides; the nearest is quantizer.num_quantizers={layers}, "
      f"{rates.describe_bps(nearest)} bit/s."
    )
  bits = min(possible, key=lambda b: (abs(b - has.bits_per_code), b))
  size = "" if bits == has.bits_per_code else f", codebook_size={2**bits}"
  return (
    "The nearest that has it is quantizer.num_quantizers="
    f"{per_frame / bits}{size}."
  )
