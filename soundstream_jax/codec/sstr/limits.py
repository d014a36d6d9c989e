"""Limits of a header of version 2, so that no file takes more than it is."""

from soundstream_jax import errors, rates
from soundstream_jax.codec.sstr import packing

MAX_FRAMES = 2**32 - 1
MAX_SAMPLES = 2**64 - 2
MAX_STRIDES = 8
# Channels are damaged each on its own, which costs a reader time for each.
MAX_CHANNELS = 16
# With F, this bounds a chunk's body to 16 MiB, which a reader holds.
MAX_PLANES = 2048
WEIGHTS = ("raw", "ema")


def check(header) -> None:
  """Refuses fields that do not fit the format or each other.

  Args:
    header: `header.Header`.

  Raises:
    InputError: with the field, its value and the rule.
  """
  if not 1 <= len(header.strides) <= MAX_STRIDES:
    raise errors.InputError(
      f"strides={header.strides}: the format holds 1 to {MAX_STRIDES} of them."
    )
  limits = {
    "source_rate_hz": (1, 2**32 - 1),
    "source_samples": (0, MAX_SAMPLES),
    "source_channels": (1, 2**16 - 1),
    "channels": (1, MAX_CHANNELS),
    "model_rate_hz": (1, 2**32 - 1),
    "hop_samples": (1, 2**32 - 1),
    "codebook_size": (2, 1 << packing.MAX_CODE_BITS),
    "model_quantizers": (1, 255),
    "num_quantizers": (1, header.model_quantizers),
    "chunk_frames": (8, 4096),
    "step": (0, 2**63 - 1),
  }
  values = vars(header) | {"hop_samples": header.hop_samples}
  for name, (low, high) in limits.items():
    value = values[name]
    if value is not None and not low <= value <= high:
      raise errors.InputError(
        f"{name}={value} is not between {low} and {high}."
      )
  if max(header.strides) >= 2**16:
    raise errors.InputError(f"strides={header.strides} do not fit 16 bits.")
  rates.bits_per_code(header.codebook_size)
  _check_together(header)
  for name, length in (("fingerprint", 32), ("tables", 16)):
    if len(values[name]) != length:
      raise errors.InputError(
        f"{name} has {len(values[name])} bytes, not {length}."
      )
  if header.weights not in WEIGHTS:
    raise errors.InputError(
      f"weights={header.weights!r} is none of {', '.join(WEIGHTS)}."
    )


def _check_together(header) -> None:
  if header.chunk_frames % 8:
    raise errors.InputError(
      f"chunk_frames={header.chunk_frames} is not a multiple of 8."
    )
  if header.channels not in (1, header.source_channels):
    raise errors.InputError(
      f"channels={header.channels} is neither 1 nor the source's "
      f"{header.source_channels}."
    )
  planes = header.num_quantizers * header.channels
  if planes > MAX_PLANES:
    raise errors.InputError(
      f"{header.num_quantizers} layers of {header.channels} channels are more "
      f"than {MAX_PLANES}. Use a lower bitrate, or fewer channels."
    )
  if header.frames is not None and header.frames > MAX_FRAMES:
    raise errors.InputError(
      f"source_samples={header.source_samples} are {header.frames} frames, "
      f"more than {MAX_FRAMES}."
    )
