"""The header of an .sstr file: what it holds and which model made it.

Version 2: 120 bytes. All integers are little-endian; u and i give signedness
and bits.

    offset  size  type  field
         0     4  -     magic, the ASCII bytes "SSTR"
         4     1  u8    version, 2
         5     1  u8    flags, 0
         6     2  u16   header length in bytes, 120
         8     8  u64   source samples per channel, before resampling; all ones
                        in a stream, whose end chunk then says it
        16     8  i64   step of the checkpoint that encoded (a hint, >= 0)
        24     4  u32   source rate in Hz
        28     4  u32   model rate in Hz
        32     4  u32   hop in model samples per frame, the product of strides
        36     4  u32   codebook size K, a power of two from 2 to 65536
        40     2  u16   source channels
        42     2  u16   channels coded C, at most 16: as many as the source's,
                        or 1, their mean
        44     2  u16   layers of the model Q, at most 255
        46     2  u16   layers coded n_q, at most Q; n_q * C at most 2048
        48     2  u16   frames of a chunk F at most, a multiple of 8 up to 4096
        50     1  u8    weights that encoded (a hint): 0 raw, 1 ema
        51     1  u8    number of the model's strides, 1 to 8
        52    16  u16   8 strides, the first of the encoder first; then 0
        68    16  -     identity of the entropy coder's tables; 0 without
        84    32  -     model fingerprint, SHA-256 (see fingerprint.py)
       116     4  u32   CRC-32C of the header's bytes 0 to 115

The magic, the version byte and the header length are where version 1 has them.
A reader checks the header before it uses any of it and refuses flags that are
not 0. The model's samples and the frames follow from the source samples:

    model samples = ceil(source samples * model rate / source rate)
    frames        = ceil(model samples / hop)

The format's checksum is CRC-32C (Castagnoli; the one of iSCSI, ext4 and
TFRecord): it finds every burst of up to 32 bits as zlib's CRC-32 does, more
errors of a few single bits at a chunk's length, and processors compute it in
hardware, which matters as every plane of codes has its own.
"""

import dataclasses
import functools
import struct
from fractions import Fraction
from typing import BinaryIO

import google_crc32c

from soundstream_jax import errors, rates
from soundstream_jax.codec.sstr import limits

MAGIC = b"SSTR"
VERSION = 2
HEADER_BYTES = 120
# Magic, version, flags and header length: the same in all versions.
START_BYTES = 8
WEIGHTS = limits.WEIGHTS

_UNKNOWN = limits.MAX_SAMPLES + 1
_START = struct.Struct("<4sBBH")
_LAYOUT = {
  "source_samples": "Q",
  "step": "q",
  "source_rate_hz": "I",
  "model_rate_hz": "I",
  "hop_samples": "I",
  "codebook_size": "I",
  "source_channels": "H",
  "channels": "H",
  "model_quantizers": "H",
  "num_quantizers": "H",
  "chunk_frames": "H",
  "weights": "B",
  "num_strides": "B",
  "strides": f"{2 * limits.MAX_STRIDES}s",
  "tables": "16s",
  "fingerprint": "32s",
}
_FIELDS = struct.Struct("<" + "".join(_LAYOUT.values()))
_STRIDES = struct.Struct(f"<{limits.MAX_STRIDES}H")
_CHECKSUM = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class Header:
  """The header's fields. Building one checks it.

  Raises:
    InputError: fields out of range or at odds with each other.
  """

  source_rate_hz: int
  source_samples: int | None  # per channel; None in a stream
  source_channels: int
  channels: int  # that are coded
  model_rate_hz: int
  strides: tuple[int, ...]
  codebook_size: int
  model_quantizers: int  # that the model has
  num_quantizers: int  # that are coded, at most
  chunk_frames: int  # at most
  fingerprint: bytes  # 32 bytes
  step: int
  weights: str  # 'raw' or 'ema'
  tables: bytes = bytes(16)  # identity of the entropy coder's

  def __post_init__(self):
    limits.check(self)

  @property
  def version(self) -> int:
    return VERSION

  @property
  def rates(self) -> rates.Rates:
    """Of the model, with all its layers."""
    return rates.Rates(
      sample_rate_hz=self.model_rate_hz,
      strides=self.strides,
      num_quantizers=self.model_quantizers,
      codebook_size=self.codebook_size,
    )

  @functools.cached_property
  def hop_samples(self) -> int:
    return rates.hop_samples(self.strides)

  @functools.cached_property
  def code_bits(self) -> int:
    return rates.bits_per_code(self.codebook_size)

  @functools.cached_property
  def frames(self) -> int | None:
    """None in a stream."""
    if self.source_samples is None:
      return None
    return self.frames_of(self.source_samples)

  @property
  def bitrate_bps(self) -> Fraction:
    """Of one channel: frame rate * layers * bits per code."""
    return self.rates.bitrate_bps(self.num_quantizers)

  def model_samples_of(self, source_samples: int) -> int:
    return rates.resampled_length(
      source_samples, self.source_rate_hz, self.model_rate_hz
    )

  def frames_of(self, source_samples: int) -> int:
    return self.rates.num_frames(self.model_samples_of(source_samples))

  def to_bytes(self) -> bytes:
    """Returns the header's 120 bytes."""
    strides = self.strides + (0,) * (limits.MAX_STRIDES - len(self.strides))
    unknown = self.source_samples is None
    values = vars(self) | {
      "source_samples": _UNKNOWN if unknown else self.source_samples,
      "hop_samples": self.hop_samples,
      "weights": WEIGHTS.index(self.weights),
      "num_strides": len(self.strides),
      "strides": _STRIDES.pack(*strides),
    }
    data = _START.pack(MAGIC, VERSION, 0, HEADER_BYTES)
    data += _FIELDS.pack(*(values[name] for name in _LAYOUT))
    return data + _CHECKSUM.pack(google_crc32c.value(data))

  @classmethod
  def from_bytes(cls, data: bytes) -> "Header":
    """Reads a header from the first bytes of a file.

    Args:
      data: the file's first bytes, at least 120; what follows is ignored.

    Raises:
      InputError: not version 2 of this format, too few bytes, a wrong
        checksum, or fields that contradict each other.
    """
    version = version_of(data)
    if version != VERSION:
      raise errors.InputError(f"version {version} is not {VERSION}.")
    if len(data) < HEADER_BYTES:
      raise errors.InputError(
        f"the header is truncated: expected {HEADER_BYTES} bytes, found "
        f"{len(data)}."
      )
    data = bytes(data[:HEADER_BYTES])
    (checksum,) = _CHECKSUM.unpack(data[-_CHECKSUM.size :])
    computed = google_crc32c.value(data[: -_CHECKSUM.size])
    if checksum != computed:
      raise errors.InputError(
        f"the header is damaged: its CRC-32C is {computed:08x}, not the stored "
        f"{checksum:08x}."
      )
    _, _, flags, length = _START.unpack_from(data)
    if (flags, length) != (0, HEADER_BYTES):
      raise errors.InputError(
        f"flags={flags} and header length={length} are not the 0 and "
        f"{HEADER_BYTES} of version {VERSION}."
      )
    values = _FIELDS.unpack_from(data, START_BYTES)
    return cls(**_from_fields(dict(zip(_LAYOUT, values, strict=True))))

  @classmethod
  def read(cls, file: BinaryIO, start: bytes = b"") -> "Header":
    """Reads the header of a file whose bytes `start` are read already.

    Raises:
      InputError: as `from_bytes`.
    """
    return cls.from_bytes(start + file.read(HEADER_BYTES - len(start)))


def version_of(data: bytes) -> int:
  """Returns the version of a file from its first bytes.

  Raises:
    InputError: fewer than five bytes, or those of no .sstr file.
  """
  found = bytes(data[: len(MAGIC)])
  if found != MAGIC[: len(found)]:
    raise errors.InputError(
      f"this is not an .sstr file: it starts with {found.hex(' ')}, not "
      f"{MAGIC.hex(' ')}. soundstream encode makes one of audio."
    )
  if len(data) <= len(MAGIC):
    raise errors.InputError(
      f"the header is truncated: the file has {len(data)} bytes."
    )
  return data[len(MAGIC)]


def _from_fields(values: dict) -> dict:
  """Turns the fields of the layout into arguments of Header."""
  count, strides = values.pop("num_strides"), values.pop("strides")
  strides = _STRIDES.unpack(strides)
  if not 1 <= count <= limits.MAX_STRIDES or any(strides[count:]):
    raise errors.InputError(
      f"strides={strides} are not {count} numbers followed by 0."
    )
  hop = values.pop("hop_samples")
  if hop != (expected := rates.hop_samples(strides[:count])):
    raise errors.InputError(
      f"hop_samples={hop} is not the product {expected} of the strides "
      f"{strides[:count]}."
    )
  if values["weights"] >= len(WEIGHTS):
    raise errors.InputError(f"weights={values['weights']} is not 0 or 1.")
  if values["source_samples"] == _UNKNOWN:
    values["source_samples"] = None
  weights = WEIGHTS[values["weights"]]
  return values | {"weights": weights, "strides": strides[:count]}
