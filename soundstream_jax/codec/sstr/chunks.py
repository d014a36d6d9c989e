"""A chunk of an .sstr file: codes of a few frames that need no other chunk.

Integers are little-endian and unsigned. A chunk begins with 20 bytes:

    offset  size  type  field
         0     3  -     marker, the bytes d3 53 43
         3     1  u8    kind: 0 codes, packed; 1 codes, entropy coded; 255 end
         4     2  u16   frames N of a chunk of codes, 1 to the header's F
         6     2  u16   layers n_q, 1 to the header's
         8     4  u32   index of the first frame, from 0
        12     4  u32   length of the body in bytes
        16     4  u32   CRC-32C of bytes 0 to 15

The body of a chunk of codes is n_q * C entries: the first layer's of every
channel, then the second's, and so on, so that a cut body is a lower bitrate.
An entry is one plane, the codes of one layer and channel in N frames:

    kind 0: ceil(N * log2(K) / 8) bytes, the codes from the first frame to the
            last, each log2(K) bits, most significant bit first, without gaps;
            the last byte is filled with 0 bits
    kind 1: u16, the length of what follows, at most that of kind 0; then the
            plane as the entropy coder writes it (see entropy/plane_coder.py)
    both:   u32, CRC-32C over u32 index of the first frame, u16 frames N, u16
            layer and u16 channel, both from 0, and then the bytes of the entry
            before it. A plane in another's place is a damaged one, and cutting
            layers off changes no entry.

The end chunk is there where the header does not know the source samples. Its
frames and n_q are 0, the index of its first frame is the number of all frames,
and its body has 12 bytes: u64 source samples per channel, u32 CRC-32C as of a
entry of layer 0 and channel 0.

The size of a file of packed codes is

    120 + sum over chunks (20 + 4 * n_q * C + n_q * C * ceil(N * log2(K) / 8))
        + 32 where there is an end chunk
"""

import dataclasses
import struct
from collections.abc import Iterator, Sequence

import google_crc32c

from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr import limits, packing

MARKER = b"\xd3SC"
HEAD_BYTES = 20
END_BYTES = 32
PACKED, ENTROPY, END = 0, 1, 255

CHECKSUM_BYTES = 4
LENGTH_BYTES = 2
_HEAD = struct.Struct("<3sBHHII")
_PLACE = struct.Struct("<IHHH")
_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<H")
_SAMPLES = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True)
class Head:
  """The first bytes of a chunk."""

  kind: int
  frames: int
  num_quantizers: int
  first_frame: int
  body_bytes: int

  def to_bytes(self) -> bytes:
    data = _HEAD.pack(
      MARKER,
      self.kind,
      self.frames,
      self.num_quantizers,
      self.first_frame,
      self.body_bytes,
    )
    return data + _CHECKSUM.pack(google_crc32c.value(data))

  @property
  def stop_frame(self) -> int:
    return self.first_frame + self.frames

  @property
  def chunk_bytes(self) -> int:
    return HEAD_BYTES + self.body_bytes


def parse(data: bytes, header: header_lib.Header) -> Head | None:
  """Returns the head in the first 20 bytes; None if they are none.

  A head is one only if its checksum is right and a chunk of this file can begin
  so: what it claims is bounded by the header's claims.
  """
  if len(data) < HEAD_BYTES or data[: len(MARKER)] != MARKER:
    return None
  fields = bytes(data[: _HEAD.size])
  (checksum,) = _CHECKSUM.unpack_from(data, _HEAD.size)
  if google_crc32c.value(fields) != checksum:
    return None
  head = Head(*_HEAD.unpack(fields)[1:])
  possible = _end_is_possible if head.kind == END else _codes_are_possible
  return head if possible(head, header) else None


def plane_checksum(
  data: bytes, *, first_frame: int, frames: int, layer: int, channel: int
) -> int:
  """CRC-32C of a plane in its place."""
  place = _PLACE.pack(first_frame, frames, layer, channel)
  return google_crc32c.value(place + data)


def entry(blob: bytes, kind: int, **place: int) -> bytes:
  """Returns a plane as it is stored; `place` is that of `plane_checksum`."""
  data = _LENGTH.pack(len(blob)) + blob if kind == ENTROPY else blob
  return data + _CHECKSUM.pack(plane_checksum(data, **place))


def spans(
  data: bytes, head: Head, header: header_lib.Header
) -> Iterator[tuple[int, int]]:
  """Yields where entries begin and end, as many as are whole.

  Args:
    data: begins with the chunk's head; ends anywhere.
  """
  most = packing.plane_bytes(head.frames, header.code_bits)
  start = HEAD_BYTES
  for _ in range(head.num_quantizers * header.channels):
    length = most
    if head.kind == ENTROPY:
      if start + LENGTH_BYTES > len(data):
        return
      length = LENGTH_BYTES + _LENGTH.unpack_from(data, start)[0]
    stop = start + length + CHECKSUM_BYTES
    if length > most + LENGTH_BYTES or stop > min(len(data), head.chunk_bytes):
      return
    yield start, stop
    start = stop


def is_whole(
  entry: bytes, head: Head, *, layer: int, channel: int, filling: int
) -> bool:
  """Says whether an entry is what was written.

  Args:
    entry: bytes of a span.
    head: of its chunk.
    layer: where it should be from.
    channel: where it should be from.
    filling: `packing.filling_mask` of the chunk's packed planes.
  """
  data = entry[:-CHECKSUM_BYTES]
  (stored,) = _CHECKSUM.unpack_from(entry, len(data))
  computed = plane_checksum(
    data,
    first_frame=head.first_frame,
    frames=head.frames,
    layer=layer,
    channel=channel,
  )
  if stored != computed:
    return False
  return head.kind != PACKED or not data[-1] & filling


def plane(entry: bytes, kind: int) -> bytes:
  """Returns the plane in an entry."""
  start = LENGTH_BYTES if kind == ENTROPY else 0
  return entry[start:-CHECKSUM_BYTES]


def end(source_samples: int, frames: int) -> bytes:
  """Returns an end chunk."""
  data = _SAMPLES.pack(source_samples)
  checksum = plane_checksum(
    data, first_frame=frames, frames=0, layer=0, channel=0
  )
  head = Head(END, 0, 0, frames, END_BYTES - HEAD_BYTES)
  return head.to_bytes() + data + _CHECKSUM.pack(checksum)


def end_samples(body: bytes, head: Head) -> int | None:
  """Returns the samples of an end chunk's body; None if it is damaged."""
  if len(body) < END_BYTES - HEAD_BYTES:
    return None
  if not is_whole(bytes(body), head, layer=0, channel=0, filling=0):
    return None
  return _SAMPLES.unpack_from(body)[0]


def overhead_bytes(*, num_quantizers: int, channels: int) -> int:
  """Bytes of a packed chunk that are no codes."""
  return HEAD_BYTES + CHECKSUM_BYTES * num_quantizers * channels


def file_bytes(header: header_lib.Header, chunk_frames: Sequence[int]) -> int:
  """The law of sizes: a file of packed codes whose chunks have these frames."""
  planes = header.num_quantizers * header.channels
  overhead = overhead_bytes(
    num_quantizers=header.num_quantizers, channels=header.channels
  )
  end_bytes = END_BYTES if header.source_samples is None else 0
  return (
    header_lib.HEADER_BYTES
    + end_bytes
    + sum(
      overhead + planes * packing.plane_bytes(frames, header.code_bits)
      for frames in chunk_frames
    )
  )


def _end_is_possible(head: Head, header: header_lib.Header) -> bool:
  return (
    header.source_samples is None
    and (head.frames, head.num_quantizers) == (0, 0)
    and head.body_bytes == END_BYTES - HEAD_BYTES
  )


def _codes_are_possible(head: Head, header: header_lib.Header) -> bool:
  last = limits.MAX_FRAMES if header.frames is None else header.frames
  if not (
    1 <= head.frames <= header.chunk_frames
    and 1 <= head.num_quantizers <= header.num_quantizers
    and head.stop_frame <= last
  ):
    return False
  planes = head.num_quantizers * header.channels
  packed = packing.plane_bytes(head.frames, header.code_bits)
  if head.kind == PACKED:
    return head.body_bytes == planes * (packed + CHECKSUM_BYTES)
  extra = LENGTH_BYTES + CHECKSUM_BYTES
  return (
    head.kind == ENTROPY
    and any(header.tables)
    and planes * extra <= head.body_bytes <= planes * (packed + extra)
  )
