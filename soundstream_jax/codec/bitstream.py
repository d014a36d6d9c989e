"""The .sstr file: a header and the codes, packed in whole bits.

Version 1. All integers are little-endian; u and i give signedness and bits.

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

A reader checks the header before it uses any of it, refuses flags and reserved
bytes that are not 0, and refuses versions it does not know. The magic, the
version byte and the header length keep their place and meaning in every later
version; everything else may change. A later version may lengthen the header,
give flags and reserved bytes a meaning, split the payload into chunks with a
CRC each, or code it with fixed integer tables. It must not depend on floating
point to find a bit's meaning.
"""

import contextlib
import dataclasses
import os
import pathlib
import struct
import zlib
from fractions import Fraction

import numpy as np

from soundstream_jax import errors, rates
from soundstream_jax.codec import packing

MAGIC = b"SSTR"
VERSION = 1
HEADER_BYTES = 104
WEIGHTS = ("raw", "ema")

_START = struct.Struct("<4sBBH")
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
_FIELDS = struct.Struct("<" + "".join(_LAYOUT.values()))
_CHECKSUM = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file says about itself. Building one checks it.

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
  payload_crc32: int = 0  # `to_bytes` of a whole file fills it in

  def __post_init__(self):
    _check(self)

  @property
  def code_bits(self) -> int:
    return rates.bits_per_code(self.codebook_size)

  @property
  def payload_bytes(self) -> int:
    return rates.payload_bytes(self.frames, self.num_quantizers, self.code_bits)

  @property
  def file_bytes(self) -> int:
    return HEADER_BYTES + self.payload_bytes

  @property
  def duration_s(self) -> Fraction:
    return Fraction(self.source_samples, self.source_rate_hz)

  @property
  def bitrate_bps(self) -> Fraction:
    """Frame rate * layers * bits per code, what the codes alone cost."""
    frame_rate_hz = Fraction(self.model_rate_hz, self.hop_samples)
    return frame_rate_hz * self.num_quantizers * self.code_bits

  @property
  def file_bitrate_bps(self) -> Fraction | None:
    """Bits of the whole file per second of audio; None without audio."""
    if not self.source_samples:
      return None
    return 8 * self.file_bytes / self.duration_s

  def to_bytes(self) -> bytes:
    """Returns the header's 104 bytes."""
    values = dataclasses.asdict(self) | {
      "weights": WEIGHTS.index(self.weights),
      "reserved": bytes(3),
    }
    body = _START.pack(MAGIC, VERSION, 0, HEADER_BYTES)
    body += _FIELDS.pack(*(values[name] for name in _LAYOUT))
    return body + _CHECKSUM.pack(zlib.crc32(body))

  @classmethod
  def from_bytes(cls, data: bytes) -> "Header":
    """Reads a header from the first bytes of a file.

    Args:
      data: the file's first bytes, at least 104; what follows is ignored.

    Raises:
      InputError: not this format, an unknown version, too few bytes, a wrong
        checksum, or fields that contradict each other.
    """
    _check_start(data)
    (checksum,) = _CHECKSUM.unpack_from(data, HEADER_BYTES - _CHECKSUM.size)
    computed = zlib.crc32(data[: HEADER_BYTES - _CHECKSUM.size])
    if checksum != computed:
      raise errors.InputError(
        f"the header is damaged: its CRC-32 is {computed:08x}, not the stored "
        f"{checksum:08x}."
      )
    _, _, flags, length = _START.unpack_from(data)
    values = _FIELDS.unpack_from(data, _START.size)
    values = dict(zip(_LAYOUT, values, strict=True))
    reserved = values.pop("reserved")
    if length != HEADER_BYTES:
      raise errors.InputError(
        f"header length={length} is not the {HEADER_BYTES} of version 1."
      )
    if flags or any(reserved):
      raise errors.InputError(
        f"flags={flags} and reserved bytes={reserved.hex()} must be 0 in "
        "version 1."
      )
    if values["weights"] >= len(WEIGHTS):
      raise errors.InputError(f"weights={values['weights']} is not 0 or 1.")
    return cls(**values | {"weights": WEIGHTS[values["weights"]]})


@dataclasses.dataclass(frozen=True)
class Recording:
  header: Header
  codes: np.ndarray  # [F, n_q] int32


def to_bytes(header: Header, codes: np.ndarray) -> bytes:
  """Returns a whole file; the payload's checksum in `header` is replaced.

  Args:
    header: describes the codes.
    codes: [F, n_q] integers.

  Raises:
    InputError: codes of another shape than the header says, or out of range.
  """
  expected = (header.frames, header.num_quantizers)
  if np.shape(codes) != expected:
    raise errors.InputError(
      f"codes have shape {np.shape(codes)}; the header says {expected}."
    )
  payload = packing.pack(codes, header.code_bits)
  header = dataclasses.replace(header, payload_crc32=zlib.crc32(payload))
  return header.to_bytes() + payload


def from_bytes(data: bytes) -> Recording:
  """Reads a whole file from memory.

  Raises:
    InputError: one line that says what is wrong with the bytes.
  """
  header = Header.from_bytes(data)
  _check_size(header, len(data))
  return _recording(header, data[HEADER_BYTES:])


def write(path: str | os.PathLike, header: Header, codes: np.ndarray) -> int:
  """Writes a file and returns its size in bytes.

  The file appears under its name only when it is complete.

  Raises:
    InputError: as `to_bytes`, or the file cannot be written.
  """
  data = to_bytes(header, codes)
  path = pathlib.Path(path)
  partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
  try:
    partial.write_bytes(data)
    os.replace(partial, path)
  except OSError as error:
    raise errors.InputError(
      f"{path}: cannot be written ({error.strerror or error}). Use a folder "
      "that exists, may be written to and has space."
    ) from None
  finally:
    with contextlib.suppress(OSError):
      partial.unlink()
  return len(data)


def read(path: str | os.PathLike) -> Recording:
  """Reads a file, checking its size before its payload is read.

  Raises:
    InputError: no such file, or one line that says what is wrong with it.
  """
  try:
    with open(path, "rb") as file:
      header = Header.from_bytes(file.read(HEADER_BYTES))
      _check_size(header, os.fstat(file.fileno()).st_size)
      return _recording(header, file.read(header.payload_bytes))
  except OSError as error:
    raise errors.InputError(
      f"{os.fspath(path)}: cannot be read ({error.strerror or error}). Name "
      "one .sstr file."
    ) from None
  except errors.InputError as error:
    raise errors.InputError(f"{os.fspath(path)}: {error}") from None


def _recording(header: Header, payload: bytes) -> Recording:
  if len(payload) != header.payload_bytes:
    raise errors.InputError(
      f"the payload is truncated: expected {header.payload_bytes} bytes, found "
      f"{len(payload)}."
    )
  computed = zlib.crc32(payload)
  if computed != header.payload_crc32:
    raise errors.InputError(
      f"the payload is damaged: its CRC-32 is {computed:08x}, not the stored "
      f"{header.payload_crc32:08x}."
    )
  codes = packing.unpack(
    payload, header.frames, header.num_quantizers, header.code_bits
  )
  return Recording(header=header, codes=codes)


def _check_start(data: bytes) -> None:
  """Refuses what is not version 1 or has no whole header."""
  found = bytes(data[: len(MAGIC)])
  if found != MAGIC[: len(found)]:
    raise errors.InputError(
      f"this is not an .sstr file: it starts with {found.hex(' ')}, not "
      f"{MAGIC.hex(' ')}."
    )
  if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
    raise errors.InputError(
      f"version {data[len(MAGIC)]} of the .sstr format is unknown; known: "
      f"{VERSION}. A newer soundstream_jax may read it."
    )
  if len(data) < HEADER_BYTES:
    raise errors.InputError(
      f"the header is truncated: expected {HEADER_BYTES} bytes, found "
      f"{len(data)}."
    )


def _check_size(header: Header, size: int) -> None:
  found = size - HEADER_BYTES
  if found < header.payload_bytes:
    raise errors.InputError(
      f"the payload is truncated: expected {header.payload_bytes} bytes, found "
      f"{found}."
    )
  if found > header.payload_bytes:
    raise errors.InputError(
      f"{found - header.payload_bytes} bytes follow the payload: expected "
      f"{header.file_bytes} bytes in all, found {size}."
    )


def _check(header: Header) -> None:
  """Refuses fields that do not fit the format or each other."""
  limits = {
    "source_rate_hz": (1, 2**32 - 1),
    "source_samples": (0, 2**64 - 1),
    "source_channels": (1, 2**16 - 1),
    "model_rate_hz": (1, 2**32 - 1),
    "model_samples": (0, 2**64 - 1),
    "hop_samples": (1, 2**32 - 1),
    "codebook_size": (2, 1 << packing.MAX_CODE_BITS),
    "num_quantizers": (1, 2**16 - 1),
    "frames": (0, 2**64 - 1),
    "step": (0, 2**63 - 1),
    "payload_crc32": (0, 2**32 - 1),
  }
  values = dataclasses.asdict(header)
  for name, (low, high) in limits.items():
    value = values[name]
    if not low <= value <= high:
      raise errors.InputError(
        f"{name}={value} is not between {low} and {high}."
      )
  rates.bits_per_code(header.codebook_size)
  samples = rates.resampled_length(
    header.source_samples, header.source_rate_hz, header.model_rate_hz
  )
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
  if len(header.fingerprint) != 32:
    raise errors.InputError(
      f"fingerprint has {len(header.fingerprint)} bytes, not the 32 of SHA-256."
    )
  if header.weights not in WEIGHTS:
    raise errors.InputError(
      f"weights={header.weights!r} is none of {', '.join(WEIGHTS)}."
    )
