"""The one home of rate arithmetic: hop, frames, bits per code, bitrate.

Integers and fractions only, so that what is printed equals what is on disk.
Source: paper section III-C (bitrate = frame rate * quantizers * log2 K).
"""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

from soundstream_jax import errors


@dataclasses.dataclass(frozen=True)
class Rates:
  """Everything that follows from strides, codebook size and sample rate."""

  sample_rate_hz: int
  strides: tuple[int, ...]
  num_quantizers: int
  codebook_size: int

  def __post_init__(self):
    hop_samples(self.strides)
    bits_per_code(self.codebook_size)

  @property
  def hop_samples(self) -> int:
    """Samples per frame, the product of the strides."""
    return hop_samples(self.strides)

  @property
  def frame_rate_hz(self) -> Fraction:
    return Fraction(self.sample_rate_hz, self.hop_samples)

  @property
  def bits_per_code(self) -> int:
    return bits_per_code(self.codebook_size)

  def bitrate_bps(self, num_quantizers: int | None = None) -> Fraction:
    """Bits per second of `num_quantizers` layers (default: all of them)."""
    if num_quantizers is None:
      num_quantizers = self.num_quantizers
    return self.frame_rate_hz * num_quantizers * self.bits_per_code

  def quantizers_for(self, bitrate_bps: float) -> int:
    """Returns the number of layers that make exactly this bitrate.

    Args:
      bitrate_bps: bits per second; a rate printed by `describe_bps` is
        accepted although it may be rounded.

    Raises:
      InputError: the model cannot make this rate; the message lists those it
        can.
    """
    layers = range(1, self.num_quantizers + 1)
    if math.isfinite(bitrate_bps):
      wanted = Fraction(bitrate_bps)
      for q in layers:
        if abs(self.bitrate_bps(q) - wanted) < Fraction(1, 2):
          return q
    possible = ", ".join(describe_bps(self.bitrate_bps(q)) for q in layers)
    raise errors.InputError(
      f"bitrate={float(bitrate_bps):.10g} bit/s is not a rate of this model. "
      f"Use one of: {possible}."
    )

  def layers_near(self, bitrate_bps: float) -> int:
    """Returns how many layers, one or more, come nearest to a bitrate.

    However many the model has; of two that are as near, the fewer.
    """
    exact = Fraction(bitrate_bps) / self.bitrate_bps(1)
    return max(1, math.ceil(exact - Fraction(1, 2)))

  def check_bitrate(self, bitrate_bps: float) -> None:
    """Refuses a model whose highest bitrate is not the one asked for.

    Raises:
      InputError: with the nearest bitrate that this frame rate and codebook
        size have, and its number of layers.
    """
    if self.bitrate_bps() == Fraction(bitrate_bps):
      return
    layers = self.layers_near(bitrate_bps)
    raise errors.InputError(
      f"quantizer.num_quantizers={self.num_quantizers} of quantizer."
      f"codebook_size={self.codebook_size} at {describe_bps(self.frame_rate_hz)} "
      f"frames/s make {describe_bps(self.bitrate_bps())} bit/s, not "
      f"{describe_bps(Fraction(bitrate_bps))}. The nearest of that codebook_size "
      f"is {describe_bps(self.bitrate_bps(layers))} bit/s: "
      f"quantizer.num_quantizers={layers}."
    )

  def num_frames(self, num_samples: int) -> int:
    """Frames that cover the samples; the last may be padded."""
    return -(-num_samples // self.hop_samples)


def hop_samples(strides: Sequence[int]) -> int:
  """Returns the product of the strides.

  Raises:
    InputError: no strides, or a stride below 1.
  """
  if not strides or any(not isinstance(s, int) or s < 1 for s in strides):
    raise errors.InputError(
      f"model.strides={tuple(strides)} must be whole numbers of at least 1, "
      "for example (2,4,5,8)."
    )
  return math.prod(strides)


def bits_per_code(codebook_size: int) -> int:
  """Returns log2 of the codebook size.

  Raises:
    InputError: the size is not a power of two of at least 2.
  """
  if codebook_size < 2 or codebook_size & (codebook_size - 1):
    below = 1 << max(1, int(codebook_size).bit_length() - 1)
    raise errors.InputError(
      f"quantizer.codebook_size={codebook_size} is not a power of two; codes "
      f"are packed in whole bits. Use {below} or {2 * below}."
    )
  return codebook_size.bit_length() - 1


def payload_bytes(frames: int, num_quantizers: int, code_bits: int) -> int:
  """Bytes that hold frames * num_quantizers codes, packed without gaps."""
  return -(-frames * num_quantizers * code_bits // 8)


def resampled_length(
  num_samples: int, rate_in_hz: int, rate_out_hz: int
) -> int:
  """ceil(num_samples * rate_out / rate_in), in integers."""
  return -(-num_samples * rate_out_hz // rate_in_hz)


def describe_bps(bitrate_bps: Fraction) -> str:
  """Formats a bitrate without hiding a fraction: '6000', '2066.67'."""
  if bitrate_bps.denominator == 1:
    return str(bitrate_bps.numerator)
  return f"{float(bitrate_bps):.2f}"
