"""Compares what the header of a sound file says with what the file holds.

libsndfile corrects a count that is too high without a word; so the chunks of
RIFF, RIFX, RF64, W64, AIFF, 8SVX and CAF are walked here, and the few numbers
of AU, AVR, FLAC, MP3, NIST, Ogg and SDS are looked at. Another format says nothing.
"""

import dataclasses
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_MOST_CHUNKS = 1_000
# Sizes that programs write who cannot know better, as into a pipe: ffmpeg and
# others 2**32 - 1 or a little less, sox 0x7ffff000, arecord 2**31.
_UNKNOWN_SIZES = (range(0x7FFF_F000, 0x8000_0080), range(0xFFFF_0000, 1 << 32))
_UNKNOWN_IFF_SIZES = (range(0x7F00_0000, 0x7F00_0100), *_UNKNOWN_SIZES)
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_MP3_SLACK_BYTES = 2_048
_SDS_HEAD_BYTES, _SDS_PACKET_BYTES = 21, 127
_OGG_TAIL_BYTES = 1 << 17  # more than the longest page

_PCM, _MS_ADPCM, _FLOAT, _ALAW, _ULAW, _IMA = 1, 2, 3, 6, 7, 0x11
_GSM, _EXTENSIBLE = 0x31, 0xFFFE


@dataclasses.dataclass(frozen=True)
class Claim:
  """What a header says.

  Attributes:
    samples: of each channel; None where that is not said, as of a stream.
    size_bytes: of the sound as it is coded; None where that is not said.
    held_bytes: of these, what the file has.
    unsaid_bytes: of sound behind a size of 0, which was never filled in.
    torn: the file ends within a piece of the stream that it holds.
    broken: '', or why nobody may decode it.
  """

  samples: int | None = None
  size_bytes: int | None = None
  held_bytes: int = 0
  unsaid_bytes: int = 0
  torn: bool = False
  broken: str = ""

  @property
  def cut(self) -> bool:
    """True where bytes are missing."""
    return self.torn or self.held_bytes < (self.size_bytes or 0)


@dataclasses.dataclass(frozen=True)
class _Chunk:
  name: bytes
  start: int  # of its content
  size: int


def look(file: BinaryIO) -> Claim:
  """Returns what the header of an opened file says; the file is moved."""
  size = file.seek(0, os.SEEK_END)
  file.seek(0)
  begin = file.read(64)
  magic = begin[:4]
  try:
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and begin[8:12] == b"WAVE":
      return _wave(file, size, big=magic == b"RIFX")
    if magic == b"riff" and begin[24:40] == b"wave" + _W64_TAIL:
      return _w64(file, size)
    if magic == b"FORM":
      return _iff(file, size, begin[8:12])
    if magic == b"caff":
      return _caf(file, size)
    if magic in (b".snd", b"dns."):
      return _au(begin, size)
    if magic == b"2BIT":
      return Claim(samples=struct.unpack_from(">I", begin, 26)[0])
    if magic == b"NIST":
      return _nist(file)
    if magic == b"fLaC":
      count = int.from_bytes(begin[21:26], "big") & ((1 << 36) - 1)
      return Claim(samples=count or None)
    if magic[:3] == b"ID3" or begin[:1] == b"\xff":
      return _mp3(file, size)
    if magic[:2] == b"\xf0\x7e" and magic[3:] == b"\x01":
      return _sds(file)
    if magic == b"OggS":
      return Claim(torn=_ends_in_a_page(file, size))
  except (struct.error, ValueError):
    pass  # cut within the header; who decodes it says so
  return Claim()


def _wave(file: BinaryIO, size: int, *, big: bool) -> Claim:
  order = ">" if big else "<"
  form, long_size = b"", None
  for chunk in _chunks(file, size, order):
    if chunk.name == b"ds64":
      long_size = struct.unpack("<Q", _content(file, chunk, 16)[8:16])[0]
    elif chunk.name == b"fmt ":
      form = _content(file, chunk, 64)
    elif chunk.name == b"data":
      claimed = chunk.size
      if claimed == 0xFFFF_FFFF and long_size is not None:
        claimed = long_size if long_size < 1 << 63 else None
      elif any(claimed in sizes for sizes in _UNKNOWN_SIZES):
        claimed = None
      return _of_bytes(
        file,
        size,
        chunk.start,
        claimed,
        _wave_samples(form, order, claimed),
        order,
      )
  return Claim()


def _wave_samples(form: bytes, order: str, size: int | None) -> int | None:
  """Returns the samples of so many bytes; None where that takes decoding."""
  if size is None:
    return None
  tag, channels, _, _, block, _ = struct.unpack_from(f"{order}HHIIHH", form)
  if tag == _EXTENSIBLE:
    (tag,) = struct.unpack_from(f"{order}H", form, 24)
  if tag in (_PCM, _FLOAT, _ALAW, _ULAW):
    samples = 1
  elif tag in (_MS_ADPCM, _IMA, _GSM):
    (samples,) = struct.unpack_from(f"{order}H", form, 18)
  else:
    return None
  return size // block * samples if block and channels else None


def _w64(file: BinaryIO, size: int) -> Claim:
  form, at = b"", 40
  for _ in range(_MOST_CHUNKS):
    if at > size - 24:
      break
    file.seek(at)
    head = file.read(24)
    (whole,) = struct.unpack_from("<Q", head, 16)
    content = _Chunk(head[:4], at + 24, whole - 24)
    if content.name == b"fmt ":
      form = _content(file, content, 64)
    elif content.name == b"data":
      claimed = content.size if 0 <= content.size < 1 << 62 else None
      samples = _wave_samples(form, "<", claimed)
      return _of_bytes(file, size, content.start, claimed, samples)
    at += max(24, -(-whole // 8) * 8)
  return Claim()


def _iff(file: BinaryIO, size: int, kind: bytes) -> Claim:
  """AIFF, AIFC, and the 8SVX and 16SV of the Amiga."""
  common = b""
  for chunk in _chunks(file, size, ">"):
    if chunk.name == b"COMM":
      common = _content(file, chunk, 32)
    elif chunk.name in (b"SSND", b"BODY"):
      before = 8 if chunk.name == b"SSND" else 0  # offset and block size
      start, claimed = chunk.start + before, chunk.size - before
      samples = None
      if any(chunk.size in sizes for sizes in _UNKNOWN_IFF_SIZES):
        claimed = None
      elif kind in (b"AIFF", b"AIFC") and common:
        channels, _, bits = struct.unpack_from(">HIH", common)
        frame = channels * -(-bits // 8)
        # Packets, not samples, of what is compressed.
        if kind == b"AIFF" or common[18:22] in (b"NONE", b"sowt", b"twos"):
          samples = claimed // frame if frame else None
      elif kind in (b"8SVX", b"16SV"):
        samples = claimed // (2 if kind == b"16SV" else 1)
      return _of_bytes(file, size, start, claimed, samples, ">")
  return Claim()


def _caf(file: BinaryIO, size: int) -> Claim:
  form, at = b"", 8
  for _ in range(_MOST_CHUNKS):
    if at > size - 12:
      break
    file.seek(at)
    name, length = struct.unpack(">4sq", file.read(12))
    if name == b"desc":
      form = file.read(32)
    elif name == b"data":
      claimed = length - 4 if length >= 4 else None  # less an edit count
      samples = None
      if claimed is not None and len(form) == 32:
        packet, per_packet = struct.unpack_from(">II", form, 16)
        samples = claimed // packet * per_packet if packet else None
      return _of_bytes(file, size, at + 16, claimed, samples)
    at += 12 + max(0, length)
  return Claim()


def _au(begin: bytes, size: int) -> Claim:
  order = ">" if begin[:4] == b".snd" else "<"
  start, claimed, coding, _, channels = struct.unpack_from(
    f"{order}5I", begin, 4
  )
  if not claimed or claimed >= 0xFFFF_FFF0:
    return Claim()
  width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(coding)
  samples = claimed // (width * channels) if width and channels else None
  return Claim(samples, claimed, min(claimed, max(0, size - start)))


def _nist(file: BinaryIO) -> Claim:
  file.seek(0)
  for line in file.read(1024).split(b"\n"):
    words = line.split()
    if words[:2] == [b"sample_count", b"-i"]:
      return Claim(samples=int(words[2]))
  return Claim()


def _mp3(file: BinaryIO, size: int) -> Claim:
  """By what Xing's tag says of its bytes, which some writers count roughly."""
  file.seek(0)
  tag, at = file.read(10), 0
  if tag[:3] == b"ID3":
    length = sum((byte & 0x7F) << 7 * k for k, byte in enumerate(tag[:5:-1]))
    at = 10 + length + (10 if tag[5] & 0x10 else 0)
  file.seek(at)
  frame = file.read(64)
  place = max(frame.find(b"Xing", 4), frame.find(b"Info", 4))
  if place < 0 or frame[0] != 0xFF:
    return Claim()
  (flags,) = struct.unpack_from(">I", frame, place + 4)
  if not flags & 2:
    return Claim()
  (claimed,) = struct.unpack_from(">I", frame, place + 8 + 4 * (flags & 1))
  held = size - at
  if held >= 0.99 * claimed - _MP3_SLACK_BYTES:
    return Claim()
  return Claim(None, claimed, max(0, held))


def _sds(file: BinaryIO) -> Claim:
  """Looks at every packet: of a bad one libsndfile prints to standard output."""
  file.seek(_SDS_HEAD_BYTES)
  while packets := file.read(_SDS_PACKET_BYTES << 13):
    begins = {
      *zip(
        packets[::_SDS_PACKET_BYTES],
        packets[1::_SDS_PACKET_BYTES],
        strict=False,
      )
    }
    if begins - {(0xF0, 0x7E)}:
      return Claim(broken="a packet of its sound is damaged")
  return Claim()


def _ends_in_a_page(file: BinaryIO, size: int) -> bool:
  """True where an Ogg stream stops within a page."""
  file.seek(max(0, size - _OGG_TAIL_BYTES))
  tail = file.read()
  at = tail.rfind(b"OggS")
  if at < 0:
    return False
  head = tail[at : at + 27]
  lacing = tail[at + 27 : at + 27 + head[26]] if len(head) == 27 else b""
  if len(head) < 27 or len(lacing) < head[26]:
    return True
  return len(tail) - at < 27 + len(lacing) + sum(lacing)


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[_Chunk]:
  """Yields the chunks of a RIFF or an IFF, as far as they go."""
  at = 12
  for _ in range(_MOST_CHUNKS):
    if at > size - 8:
      return
    file.seek(at)
    name, length = struct.unpack(f"{order}4sI", file.read(8))
    yield _Chunk(name, at + 8, length)
    at += 8 + length + length % 2


def _content(file: BinaryIO, chunk: _Chunk, most: int) -> bytes:
  file.seek(chunk.start)
  return file.read(min(most, chunk.size))


def _of_bytes(
  file: BinaryIO,
  size: int,
  start: int,
  claimed: int | None,
  samples: int | None,
  order: str = "",
) -> Claim:
  """Returns the claim of sound that begins at `start`.

  Args:
    order: of the sizes of chunks that may come behind it; '' of other chunks.
  """
  held = max(0, size - start)
  if claimed is None:
    return Claim()
  if claimed <= 0 < held and not (
    order and _is_chunks(file, size, start, order)
  ):
    return Claim(unsaid_bytes=held)
  return Claim(samples, max(0, claimed), min(held, max(0, claimed)))


def _is_chunks(file: BinaryIO, size: int, at: int, order: str) -> bool:
  """True where what follows are whole chunks up to the end of the file."""
  for _ in range(_MOST_CHUNKS):
    if at >= size - 1:  # a byte may be padding
      return at <= size + 1
    file.seek(at)
    name, length = struct.unpack(f"{order}4sI", file.read(8).ljust(8, b"\0"))
    if not all(0x20 <= letter < 0x7F for letter in name):
      return False
    at += 8 + length + length % 2
  return False
