"""Tables of how often each code occurs, one per layer, and their file.

The file, version 1. All integers are little-endian and unsigned.

    offset  size  type  field
         0     4  -     magic, the ASCII bytes "SSTB"
         4     1  u8    version, 1
         5     1  u8    precision p, from log2(K) to 16
         6     2  u16   layers Q, at least 1
         8     4  u32   codebook size K, a power of two from 2 to 65536
        12    32  -     fingerprint of the model they were measured for
        44   2QK  u16   frequencies of the codes 0 to K-1 of the first layer,
                        then of the second, and so on; each is at least 1 and
                        each layer adds up to 2**p
     44+2QK    4  u32   CRC-32C of all before

The identity of tables is the first 16 bytes of the SHA-256 of all but the
CRC-32C. Files that were coded with tables name them by it.
"""

import dataclasses
import functools
import hashlib
import struct

import google_crc32c
import numpy as np

from soundstream_jax import errors, rates

MAGIC = b"SSTB"
VERSION = 1
MAX_PRECISION = 16
FINGERPRINT_BYTES = 32
IDENTITY_BYTES = 16

# As many as the header of an .sstr file can name.
MAX_LAYERS = 255

_HEADER = struct.Struct("<4sBBHI32s")
_CHECKSUM = struct.Struct("<I")


@dataclasses.dataclass(frozen=True, eq=False)
class Tables:
  """Frequencies of codes, out of 2**precision. Building one checks it.

  Raises:
    InputError: frequencies that are no tables.
  """

  frequencies: np.ndarray  # [Q, K] uint16
  precision: int
  fingerprint: bytes  # 32 bytes, of the model they were measured for

  def __post_init__(self):
    _check(self)

  @property
  def num_quantizers(self) -> int:
    return self.frequencies.shape[0]

  @property
  def codebook_size(self) -> int:
    return self.frequencies.shape[1]

  @property
  def code_bits(self) -> int:
    return rates.bits_per_code(self.codebook_size)

  @functools.cached_property
  def identity(self) -> bytes:
    """16 bytes that name these tables."""
    return hashlib.sha256(self._body()).digest()[:IDENTITY_BYTES]

  @functools.cached_property
  def widths(self) -> np.ndarray:
    """The frequencies as uint64 [Q, K]."""
    return self.frequencies.astype(np.uint64)

  @functools.cached_property
  def starts(self) -> np.ndarray:
    """Sums of the frequencies before each code, uint64 [Q, K]."""
    return np.cumsum(self.widths, axis=1, dtype=np.uint64) - self.widths

  @functools.cached_property
  def symbols(self) -> np.ndarray:
    """The code of each slot, of which it has its frequency: [Q, 2**precision]."""
    codes = np.arange(self.codebook_size, dtype=np.uint16)
    return np.stack([np.repeat(codes, layer) for layer in self.frequencies])

  def to_bytes(self) -> bytes:
    """Returns a whole file."""
    body = self._body()
    return body + _CHECKSUM.pack(google_crc32c.value(body))

  @classmethod
  def from_bytes(cls, data: bytes) -> "Tables":
    """Reads a whole file from memory.

    Raises:
      InputError: one line that says what is wrong with the bytes.
    """
    data = bytes(data)
    if not data.startswith(MAGIC):
      raise errors.InputError(
        f"tables start with the bytes {MAGIC.hex()}, not with "
        f"{data[: len(MAGIC)].hex() or 'nothing'}."
      )
    if len(data) < _HEADER.size + _CHECKSUM.size:
      raise errors.InputError(
        f"the tables are cut short: {len(data)} bytes of at least "
        f"{_HEADER.size + _CHECKSUM.size}."
      )
    _, version, precision, layers, size, fingerprint = _HEADER.unpack_from(data)
    if version != VERSION:
      raise errors.InputError(
        f"tables of version {version}; this program reads version {VERSION}. "
        "Use a newer one."
      )
    expected = _HEADER.size + 2 * layers * size + _CHECKSUM.size
    if len(data) != expected:
      raise errors.InputError(
        f"tables of {layers} layers and {size} codes are {expected} bytes, not "
        f"{len(data)}."
      )
    body = data[: -_CHECKSUM.size]
    (checksum,) = _CHECKSUM.unpack_from(data, len(body))
    computed = google_crc32c.value(body)
    if checksum != computed:
      raise errors.InputError(
        f"the tables are damaged: their CRC-32C is {computed:08x}, not the "
        f"stored {checksum:08x}."
      )
    frequencies = np.frombuffer(body, "<u2", offset=_HEADER.size)
    return cls(
      frequencies=frequencies.reshape(layers, size).astype(np.uint16),
      precision=precision,
      fingerprint=fingerprint,
    )

  def _body(self) -> bytes:
    header = _HEADER.pack(
      MAGIC,
      VERSION,
      self.precision,
      self.num_quantizers,
      self.codebook_size,
      self.fingerprint,
    )
    return header + self.frequencies.astype("<u2").tobytes()


def _check(tables: Tables) -> None:
  frequencies, precision = tables.frequencies, tables.precision
  if frequencies.dtype != np.uint16 or frequencies.ndim != 2:
    raise errors.InputError(
      f"frequencies of type {frequencies.dtype} and shape "
      f"{frequencies.shape} are not uint16 [Q, K]."
    )
  layers, size = frequencies.shape
  if not 1 <= layers <= MAX_LAYERS:
    raise errors.InputError(
      f"tables of {layers} layers; they have 1 to {MAX_LAYERS}."
    )
  bits = rates.bits_per_code(size)
  if not bits <= precision <= MAX_PRECISION:
    raise errors.InputError(
      f"tables of precision {precision}; {size} codes need one from {bits} to "
      f"{MAX_PRECISION}."
    )
  if len(tables.fingerprint) != FINGERPRINT_BYTES:
    raise errors.InputError(
      f"a fingerprint has {FINGERPRINT_BYTES} bytes, not "
      f"{len(tables.fingerprint)}."
    )
  sums = frequencies.sum(axis=1, dtype=np.int64)
  for layer in range(layers):
    if not frequencies[layer].all() or sums[layer] != 1 << precision:
      raise errors.InputError(
        f"the frequencies of layer {layer} add up to {sums[layer]}, the least "
        f"is {frequencies[layer].min()}; they must add up to {1 << precision} "
        "with none below 1."
      )
