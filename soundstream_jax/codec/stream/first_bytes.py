"""First bytes of a pipe: raw sound, the header of a file, or packets.

Raw sound does not say what it is, files do. So what begins as a file is never
taken for sound: the header of a WAV that fits is left out, anything else is
refused in a line that names the command which reads it.

Samples may begin with any bytes, so only what takes four of them or more is
known (once in 2**32 streams of noise), and no bare MP3, whose two bytes of sync
are an ordinary sample. A stream is held up by no byte that could not tell.
"""

import struct
from typing import Protocol

from soundstream_jax import errors

# What a file begins with: (offset, bytes) that must all be there.
_STARTS = {
  "a WAV file": ((0, b"RIFF"), (8, b"WAVE")),
  "a WAV file (RF64)": ((0, b"RF64"), (8, b"WAVE")),
  "a WAV file (BW64)": ((0, b"BW64"), (8, b"WAVE")),
  "a WAV file (RIFX)": ((0, b"RIFX"), (8, b"WAVE")),
  "a WAV file (Wave64)": ((0, b"riff\x2e\x91\xcf\x11"),),
  "a FLAC file": ((0, b"fLaC"),),
  "an Ogg file": ((0, b"OggS\0"),),
  "an MP3 file": ((0, b"ID3\x03\0"),),
  "an MP3 file (ID3 2.4)": ((0, b"ID3\x04\0"),),
  "an MP3 file (ID3 2.2)": ((0, b"ID3\x02\0"),),
  "an AIFF file": ((0, b"FORM"), (8, b"AIF")),
  "a CAF file": ((0, b"caff\0\1"),),
  "an AU file": ((0, b".snd\0\0"),),
  "an MP4 file": ((0, b"\0\0"), (4, b"ftyp")),
  "a WebM file": ((0, b"\x1a\x45\xdf\xa3"),),
  "an .sstr stream": ((0, b"SSTR"),),
}
_WAV, _SSTR = "a WAV file", "an .sstr stream"

# Sizes that stand for "until the end", as a pipe cannot be gone back in:
# arecord's 0x80000000, sox's 0x7ffff000, ffmpeg's 0xffffffff and their kind.
_ENDLESS = (range(0x7FFFE000, 0x80000001), range(0xFFFFF000, 0x100000000))
_PCM, _EXTENSIBLE = 1, 0xFFFE
_ENCODINGS = {_PCM: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law"}
# What an extensible format's identity has behind that number.
_GUID = bytes.fromhex("000000001000800000aa00389b71")
_READ_BYTES = 1 << 16


class Source(Protocol):
  """A file, or `cli.pipes.Input`."""

  def read(self, size: int) -> bytes:
    """Waits for so many bytes; fewer come at the end."""

  def read1(self, size: int) -> bytes:
    """Waits for some bytes; none come at the end."""


class Rest:
  """What follows in a source, with bytes of it that were read already."""

  def __init__(
    self, source: Source, ahead: bytes = b"", *, size: int | None = None
  ):
    """Args: size is how many bytes there are; None: up to the source's end."""
    self._source, self._ahead, self._left = source, ahead, size

  def read(self, size: int) -> bytes:
    """Waits for so many bytes; fewer come at the end."""
    data = bytearray()
    while len(data) < size and (found := self.read1(size - len(data))):
      data += found
    return bytes(data)

  def read1(self, size: int) -> bytes:
    """Waits for some bytes, at most so many; none come at the end."""
    if self._left is not None:
      size = min(size, self._left)
    if self._ahead:
      found, self._ahead = self._ahead[:size], self._ahead[size:]
    else:
      found = self._source.read1(size) if size else b""
    if self._left is not None:
      self._left -= len(found)
    return found

  def finish(self, *, bytes_per_second: int) -> str:
    """Reads on to the source's end, so that its writer can end.

    Returns:
      What a user should know of how it ended; "" for nothing.
    """
    if self._left is None:
      return ""
    if self._left:
      return (
        "the WAV's header says that its sound is "
        f"{self._left / bytes_per_second:.3f} s longer than what came"
      )
    begins = self._source.read(4)
    while self._source.read1(_READ_BYTES):
      pass
    if begins == b"RIFF":
      return (
        "another WAV follows the first one, and is left out; join them before, "
        "as in: sox a.wav b.wav -t raw -"
      )
    return ""


def sound(source: Source, *, rate_hz: int, channels: int) -> Rest:
  """Returns the 16-bit samples that a pipe carries, raw or behind a WAV header.

  Raises:
    InputError: it carries something else, or a WAV that does not fit.
  """
  kind, ahead = _kind(source)
  if kind is None:
    return Rest(source, ahead)
  if kind == _SSTR:
    raise errors.InputError(
      "standard input is an .sstr stream, not sound. Add --decode to decode "
      "it, or use soundstream transcode for a lower bitrate."
    )
  if kind != _WAV:
    raise errors.InputError(
      f"standard input is {kind}, not raw sound. soundstream encode reads "
      f"files; in a pipe, {_convert(rate_hz, channels)}."
    )
  return _behind_header(source, ahead, rate_hz=rate_hz, channels=channels)


def packets(source: Source, *, raw: bool) -> Rest:
  """Returns the packets that a pipe carries.

  Args:
    source: at its beginning.
    raw: whether they have no header.

  Raises:
    InputError: it carries something else.
  """
  kind, ahead = _kind(source)
  if raw and kind == _SSTR:
    raise errors.InputError(
      "standard input is an .sstr stream, not raw packets. Leave out --raw and "
      "--bitrate."
    )
  if kind not in (None, _SSTR):
    raise errors.InputError(
      f"standard input is {kind}, not packets. Leave out --decode to encode "
      "sound; packets come from soundstream stream."
    )
  if not raw and kind is None and ahead and not b"SSTR".startswith(ahead):
    raise errors.InputError(
      "standard input is not an .sstr stream: it starts with "
      f"{ahead[:4].hex(' ')}, not {b'SSTR'.hex(' ')}. Raw packets need --raw "
      "and their --bitrate, and whoever comes later than the beginning of a "
      "stream misses its header."
    )
  return Rest(source, ahead)


def _kind(source: Source) -> tuple[str | None, bytes]:
  """Returns what begins here, None if it does not say, and the bytes read."""
  data, candidates = b"", _STARTS
  while candidates:
    ends = [
      at + len(part) for parts in candidates.values() for at, part in parts
    ]
    wanted = min((end for end in ends if end > len(data)), default=0)
    if not (found := source.read1(wanted - len(data))):
      break
    data += found
    candidates = {
      kind: parts
      for kind, parts in candidates.items()
      if all(part.startswith(data[at : at + len(part)]) for at, part in parts)
    }
    for kind, parts in candidates.items():
      if len(data) >= max(at + len(part) for at, part in parts):
        return kind, data
  return None, data


def _behind_header(
  source: Source, ahead: bytes, *, rate_hz: int, channels: int
) -> Rest:
  """Returns the samples of a WAV, whose first 12 bytes were read."""
  riff_bytes, read_bytes = int.from_bytes(ahead[4:8], "little"), len(ahead)
  form = b""
  while len(head := source.read(8)) == 8:
    name, size = head[:4], int.from_bytes(head[4:], "little")
    read_bytes += len(head)
    if name == b"data":
      break
    body = _skipped(source, size + size % 2)
    read_bytes += size + size % 2
    if name == b"fmt ":
      form = body
  else:
    raise errors.InputError(
      "standard input ends within the header of a WAV: there is no sound in it."
    )
  _check_fits(form, rate_hz=rate_hz, channels=channels)
  # A writer that did not know either: the whole is no longer than its header.
  unknown = size == 0 and riff_bytes + 8 <= read_bytes
  if unknown or any(size in sizes for sizes in _ENDLESS):
    return Rest(source)
  return Rest(source, size=size)


def _skipped(source: Source, size: int) -> bytes:
  """Reads a chunk's body; returns the beginning of it."""
  beginning = source.read(min(size, _READ_BYTES))
  left = size - len(beginning)
  while left and (found := source.read1(min(left, _READ_BYTES))):
    left -= len(found)
  return beginning


def _check_fits(form: bytes, *, rate_hz: int, channels: int) -> None:
  """Refuses a WAV whose samples are not those that the stream takes.

  Args:
    form: the body of its `fmt ` chunk.
  """
  if len(form) < 16:
    raise errors.InputError(
      "standard input is a WAV whose header does not say what its samples are. "
      f"Read it with another program: {_convert(rate_hz, channels)}."
    )
  tag, found_channels, found_hz, _, _, bits = struct.unpack(
    "<HHIIHH", form[:16]
  )
  if tag == _EXTENSIBLE and form[26:40] == _GUID:
    tag = int.from_bytes(form[24:26], "little")
  found = tag, bits, found_hz, found_channels
  if found == (_PCM, 16, rate_hz, channels):
    return
  command = _convert(rate_hz, channels)
  if found[:3] == (_PCM, 16, rate_hz):
    command = f"use --channels={found_channels}, or {command}"
  raise errors.InputError(
    f"standard input is a WAV of {found_hz} Hz, {_count(found_channels)}, "
    f"{_ENCODINGS.get(tag, f'encoding {tag}')} of {bits} bits; this stream "
    f"takes {rate_hz} Hz, {_count(channels)}, PCM of 16 bits. soundstream "
    f"encode takes any file; in a pipe, {command}."
  )


def _count(channels: int) -> str:
  return "1 channel" if channels == 1 else f"{channels} channels"


def _convert(rate_hz: int, channels: int) -> str:
  """Says how to get what a stream takes."""
  return (
    f"record with arecord -f S16_LE -r {rate_hz} -c {channels}, or convert "
    f"with ffmpeg -i - -f s16le -ar {rate_hz} -ac {channels} -"
  )
