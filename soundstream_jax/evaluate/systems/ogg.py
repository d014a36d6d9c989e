"""Packets of an Ogg file with one stream (RFC 3533), and what Opus's say.

A page is "OggS", version 0, flags, granule 64, serial 32, number 32, CRC 32,
the number of segments n, n sizes, and the segments. A packet is a run of
segments of 255 bytes and one that is shorter; it may go on in the next page.
"""

import struct
from collections.abc import Iterator

_PAGE = struct.Struct("<4sBBqIIIB")
_BANDWIDTHS = ("NB", "MB", "WB", "SWB", "FB")


def packets(data: bytes) -> Iterator[bytes]:
  """Yields the packets of a file, those of its head too.

  Raises:
    ValueError: the bytes are no whole Ogg file.
  """
  at, packet = 0, b""
  while at < len(data):
    if len(data) - at < _PAGE.size:
      raise ValueError("the last page is cut off")
    magic, version, *_, count = _PAGE.unpack_from(data, at)
    if (magic, version) != (b"OggS", 0):
      raise ValueError(f"no page begins at byte {at}")
    at += _PAGE.size
    sizes = data[at : at + count]
    at += count
    if at + sum(sizes) > len(data) or len(sizes) < count:
      raise ValueError("the last page is cut off")
    for size in sizes:
      packet += data[at : at + size]
      at += size
      if size < 255:
        yield packet
        packet = b""
  if packet:
    raise ValueError("the last packet is cut off")


def opus_packets(data: bytes) -> list[bytes]:
  """Returns the packets of sound of an Ogg Opus file (RFC 7845).

  Raises:
    ValueError: it is none.
  """
  head, tags, *sound = packets(data)
  if not head.startswith(b"OpusHead") or not tags.startswith(b"OpusTags"):
    raise ValueError("this is no Ogg Opus file")
  return sound


def bandwidth(packet: bytes) -> str:
  """Returns 'SILK-NB', 'HYBRID-FB', 'CELT-WB' and so on (RFC 6716, 3.1)."""
  config = packet[0] >> 3
  if config < 12:
    return f"SILK-{_BANDWIDTHS[config // 4]}"
  if config < 16:
    return f"HYBRID-{_BANDWIDTHS[3 + (config - 12) // 2]}"
  return f"CELT-{('NB', 'WB', 'SWB', 'FB')[(config - 16) // 4]}"
