"""Version 1 of the .sstr file, which is read for ever and no longer written.

All integers are little-endian; u and i give signedness and bits.

    offset  size  type  field
         0     4  -     magic, the ASCII bytes "SSTR"
         4     1  u8    version, 1
         5     1  u8    flags, 0
         6     2  u16   header length in bytes, 104
         8     8  u64   source samples per channel, before resampling
        16     8  u64   model samples,
                        ceil(source samples * model rate / source rate)
        24     8  u64   frames F, ceil(model samples / hop)
        32     8  i64   step of the checkpoint that encoded (a hint, >= 0)
        40     4  u32   source rate in Hz
        44     4  u32   model rate in Hz
        48     4  u32   hop in model samples per frame
        52     4  u32   codebook size K, a power of two from 2 to 65536
        56     2  u16   source channels, before the mixdown to one
        58     2  u16   number of layers n_q
        60     1  u8    weights that encoded (a hint): 0 raw, 1 ema
        61     3  -     reserved, 0
        64    32  -     model fingerprint, SHA-256 (see fingerprint.py)
        96     4  u32   CRC-32 of the payload
       100     4  u32   CRC-32 of the header's bytes 0 to 99
       104     -  -     payload: codes [F, n_q], frame by frame and in a frame
                        from the first layer to the last, each log2(K) bits,
                        most significant bit first, without gaps; the last
                        byte is filled with 0 bits

The payload has ceil(F * n_q * log2(K) / 8) bytes and the file ends with it, so
a file's size follows from its header. CRC-32 is that of zlib and PNG. Audio of
0 samples is legal: 0 frames, an empty payload.
"""

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors, rates
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import packing

VERSION = 1
HEADER_BYTES = 104

_LAYOUT = {
  "source_samples": "Q",
  "model_samples": "Q",
  "frames": "Q",
  "step": "q",
  "source_rate_hz": "I",
  "model_rate_hz": "I",
  "hop_samples": "I",
  "codebook_size": "I",
  "source_channels": "H",
  "num_quantizers": "H",
  "weights": "B",
  "reserved": "3s",
  "fingerprint": "32s",
  "payload_crc32": "I",
}
_READ_BYTES = 1 << 20
_PIECE_FRAMES = 4_096  # a multiple of 8, so that each begins with a byte

_START = struct.Struct("<4sBBH")
_FIELDS = struct.Struct("<" + "".join(_LAYOUT.values()))
_CHECKSUM = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class Header:
  """The header's fields. Building one checks it.

  Raises:
    InputError: fields out of range or at odds with each other.
  """

  source_rate_hz: int
  source_samples: int  # per channel
  source_channels: int
  model_rate_hz: int
  model_samples: int
  hop_samples: int
  codebook_size: int
  num_quantizers: int
  frames: int
  fingerprint: bytes  # 32 bytes
  step: int
  weights: str  # 'raw' or 'ema'
  payload_crc32: int

  def __post_init__(self):
    _check(self)

  @property
  def version(self) -> int:
    return VERSION

  @property
  def channels(self) -> int:
    """That are coded: the mean of the source's."""
    return 1

  @property
  def code_bits(self) -> int:
    return rates.bits_per_code(self.codebook_size)

  @property
  def payload_bytes(self) -> int:
    return rates.payload_bytes(self.frames, self.num_quantizers, self.code_bits)

  @property
  def bitrate_bps(self) -> Fraction:
    """Frame rate * layers * bits per code, what the codes alone cost."""
    frame_rate_hz = Fraction(self.model_rate_hz, self.hop_samples)
    return frame_rate_hz * self.num_quantizers * self.code_bits

  def model_samples_of(self, source_samples: int) -> int:
    return rates.resampled_length(
      source_samples, self.source_rate_hz, self.model_rate_hz
    )

  @classmethod
  def from_bytes(cls, data: bytes) -> "Header":
    """Reads a header from the first bytes of a file.

    Args:
      data: the file's first bytes, at least 104; what follows is ignored.

    Raises:
      InputError: not version 1 of this format, too few bytes, a wrong
        checksum, or fields that contradict each other.
    """
    if len(data) < HEADER_BYTES:
      raise errors.InputError(
        f"the header is truncated: expected {HEADER_BYTES} bytes, found "
        f"{len(data)}."
      )
    (checksum,) = _CHECKSUM.unpack_from(data, HEADER_BYTES - _CHECKSUM.size)
    computed = zlib.crc32(data[: HEADER_BYTES - _CHECKSUM.size])
    if checksum != computed:
      raise errors.InputError(
        f"the header is damaged: its CRC-32 is {computed:08x}, not the stored "
        f"{checksum:08x}."
      )
    _, version, flags, length = _START.unpack_from(data)
    if (version, length) != (VERSION, HEADER_BYTES):
      raise errors.InputError(
        f"header length={length} is not the {HEADER_BYTES} of version 1."
      )
    values = _FIELDS.unpack_from(data, _START.size)
    values = dict(zip(_LAYOUT, values, strict=True))
    reserved = values.pop("reserved")
    if flags or any(reserved):
      raise errors.InputError(
        f"flags={flags} and reserved bytes={reserved.hex()} must be 0 in "
        "version 1."
      )
    if values["weights"] >= len(header_lib.WEIGHTS):
      raise errors.InputError(f"weights={values['weights']} is not 0 or 1.")
    weights = header_lib.WEIGHTS[values["weights"]]
    return cls(**values | {"weights": weights})


def from_bytes(data: bytes) -> tuple[Header, np.ndarray]:
  """Returns header and int32 codes [F, n_q] of a whole file.

  Raises:
    InputError: one line that says what is wrong with the bytes.
  """
  header = Header.from_bytes(data)
  file = io.BytesIO(data[HEADER_BYTES:])
  check_payload(file, header)
  file.seek(0)
  nothing = np.zeros((0, header.num_quantizers), np.int32)
  return header, np.concatenate([nothing, *codes(file, header)])


def check_payload(file: BinaryIO, header: Header) -> None:
  """Reads what follows the header, to its end, and checks it.

  Raises:
    InputError: one line that says what is wrong with the bytes.
  """
  size, computed = 0, 0
  while data := file.read(_READ_BYTES):
    size += len(data)
    computed = zlib.crc32(data, computed)
  if size < header.payload_bytes:
    raise errors.InputError(
      f"the payload is truncated: expected {header.payload_bytes} bytes, found "
      f"{size}."
    )
  if size > header.payload_bytes:
    raise errors.InputError(
      f"{size - header.payload_bytes} bytes follow the payload: expected "
      f"{HEADER_BYTES + header.payload_bytes} bytes in all, found "
      f"{HEADER_BYTES + size}."
    )
  if computed != header.payload_crc32:
    raise errors.InputError(
      f"the payload is damaged: its CRC-32 is {computed:08x}, not the stored "
      f"{header.payload_crc32:08x}."
    )


def codes(file: BinaryIO, header: Header) -> Iterator[np.ndarray]:
  """Yields int32 codes [F, n_q] of a file that follows its header, in pieces.

  Args:
    file: after the header, checked.
    header: of it.
  """
  for start in range(0, header.frames, _PIECE_FRAMES):
    frames = min(_PIECE_FRAMES, header.frames - start)
    number = frames * header.num_quantizers
    size = rates.payload_bytes(frames, header.num_quantizers, header.code_bits)
    packed = np.frombuffer(file.read(size), np.uint8)[None]
    unpacked = packing.unpack(packed, number, header.code_bits)
    yield unpacked.reshape(frames, header.num_quantizers)


def _check(header: Header) -> None:
  """Refuses fields that do not fit the format or each other."""
  limits = {
    "source_rate_hz": (1, 2**32 - 1),
    "source_channels": (1, 2**16 - 1),
    "model_rate_hz": (1, 2**32 - 1),
    "hop_samples": (1, 2**32 - 1),
    "codebook_size": (2, 1 << packing.MAX_CODE_BITS),
    "num_quantizers": (1, 2**16 - 1),
    "step": (0, 2**63 - 1),
  }
  values = vars(header)
  for name, (low, high) in limits.items():
    value = values[name]
    if not low <= value <= high:
      raise errors.InputError(
        f"{name}={value} is not between {low} and {high}."
      )
  rates.bits_per_code(header.codebook_size)
  samples = header.model_samples_of(header.source_samples)
  if header.model_samples != samples:
    raise errors.InputError(
      f"model_samples={header.model_samples} is not the {samples} that "
      f"{header.source_samples} samples at {header.source_rate_hz} Hz give at "
      f"{header.model_rate_hz} Hz."
    )
  frames = -(-header.model_samples // header.hop_samples)
  if header.frames != frames:
    raise errors.InputError(
      f"frames={header.frames} is not the {frames} that cover "
      f"{header.model_samples} samples in hops of {header.hop_samples}."
    )
