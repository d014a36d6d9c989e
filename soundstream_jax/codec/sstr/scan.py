"""Finds the chunks of a file or a pipe, what is whole in them, and damage.

A chunk that begins where the one before it ended is taken as it is. Where none
begins, bytes were lost, added or changed, and the next place is searched whose
20 bytes are the head of a chunk, checksum and all. The search starts after the
last whole plane, whose checksum says that it is in its place: where bytes were
lost, the next chunk begins inside the claimed body of the damaged one.

Frame indices keep time: frames between chunks are lost, and a chunk of frames
that had their turn is left out. A damaged plane costs its channel that layer
and those above it in one chunk, as they refine it.

What is held is one chunk (at most 16 MiB), read as it comes: from a pipe no
byte beyond it is waited for.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from soundstream_jax.codec.sstr import chunks, packing
from soundstream_jax.codec.sstr import header as header_lib


@dataclasses.dataclass(frozen=True)
class Chunk:
  """Codes of some frames: what was read, and how much of it is whole."""

  head: chunks.Head
  layers: tuple[int, ...]  # of each channel: the first layers that are whole
  # Layer by layer, and in a layer channel by channel, up to max(layers).
  entries: list[bytes]


@dataclasses.dataclass(frozen=True)
class End:
  """The end of a stream, as its end chunk says."""

  frames: int
  source_samples: int  # per channel


@dataclasses.dataclass(frozen=True)
class Damage:
  """One place that is damaged; `str` says it in one line."""

  seconds: Fraction
  text: str

  def __str__(self) -> str:
    return f"at {float(self.seconds):.3f} s: {self.text}"


_CUT = "the file breaks off: {} bytes of its last chunk are missing"

Event = Chunk | End | Damage


def events(
  file: BinaryIO, header: header_lib.Header, *, layers: int | None = None
) -> Iterator[Event]:
  """Yields what a file holds after its header.

  Args:
    file: at the end of its header.
    header: of it.
    layers: that the caller is interested in; damage of layers above them is
      none. None: all.

  Yields:
    Chunks in the order of their frames, without overlap; damages, each before
    the chunk after it; at most one End. After the last frame of a file or the
    end of a stream the file is read on, to see that nothing follows: who reads
    a pipe stops there.
  """
  window = _Window(file)
  layers = min(layers or header.num_quantizers, header.num_quantizers)
  position = cut_bytes = 0
  while position != header.frames:
    skipped, head = _next_head(window, header)
    if skipped and head is None and cut_bytes:
      yield _damage(header, position, _CUT.format(cut_bytes))
    elif skipped:
      yield _damage(header, position, f"{skipped} bytes belong to no chunk")
    if head is None:
      break
    if head.kind == chunks.END:
      end = _end(window, head, header)
      if end is None or end.frames < position:
        yield _damage(header, position, "the end chunk is damaged")
        window.drop(chunks.HEAD_BYTES)
        continue
      yield from _lost(header, position, end.frames)
      window.drop(head.chunk_bytes)
      yield end
      yield from _rest(window, header, end.frames)
      return
    chunk, whole_bytes = _chunk(window, head, header, layers)
    if head.first_frame < position:
      text = f"frames {head.first_frame} to {head.stop_frame - 1} come again"
      yield _damage(header, position, text)
    else:
      yield from _lost(header, position, head.first_frame)
      position = head.stop_frame
      yield from complaints(header, chunk, layers)
      if any(chunk.layers):
        yield chunk
    extent = _extent(window, head, whole_bytes, header)
    cut_bytes = max(0, head.chunk_bytes - len(window.data))
    window.drop(extent)
  if header.frames is None:
    text = "the stream breaks off without an end chunk"
    yield _damage(header, position, text)
    return
  yield from _lost(header, position, header.frames)
  if position == header.frames and cut_bytes:
    yield _damage(header, position, _CUT.format(cut_bytes))
    return
  yield from _rest(window, header, header.frames)


class _Window:
  """The bytes of a file that are not taken yet."""

  def __init__(self, file: BinaryIO):
    self._file = file
    self.data = bytearray()

  def fill(self, size: int) -> bool:
    """Reads until there are `size` bytes; False if the file has fewer."""
    while len(self.data) < size:
      # Not a byte more than asked for: a pipe would be waited for.
      found = self._file.read(size - len(self.data))
      if not found:
        return False
      self.data += found
    return True

  def drop(self, size: int) -> None:
    del self.data[:size]


def _next_head(
  window: _Window, header: header_lib.Header
) -> tuple[int, chunks.Head | None]:
  """Skips to the next head; returns how many bytes, and it, None at the end."""
  skipped = 0
  while True:
    window.fill(chunks.HEAD_BYTES)
    head = chunks.parse(window.data, header)
    if head is not None:
      return skipped, head
    if len(window.data) < chunks.HEAD_BYTES:
      skipped += len(window.data)
      window.drop(len(window.data))
      return skipped, None
    start = window.data.find(chunks.MARKER, 1)
    if start < 0:  # a marker may begin in the last bytes
      start = len(window.data) - len(chunks.MARKER) + 1
    window.drop(start)
    skipped += start


def _end(
  window: _Window, head: chunks.Head, header: header_lib.Header
) -> End | None:
  """Returns an end chunk; None if it is damaged or contradicts itself."""
  window.fill(head.chunk_bytes)
  body = bytes(window.data[chunks.HEAD_BYTES : head.chunk_bytes])
  samples = chunks.end_samples(body, head)
  if samples is None or header.frames_of(samples) != head.first_frame:
    return None
  return End(frames=head.first_frame, source_samples=samples)


def _chunk(
  window: _Window, head: chunks.Head, header: header_lib.Header, layers: int
) -> tuple[Chunk, int]:
  """Reads a chunk; returns it and where its last whole entry ends.

  A channel's first entry that is not whole ends it: what a hostile head costs
  is one plane per channel, whatever body it claims.
  """
  window.fill(head.chunk_bytes)
  filling = packing.filling_mask(head.frames, header.code_bits)
  wanted = min(layers, head.num_quantizers)
  good, entries = [0] * header.channels, []
  whole_bytes = chunks.HEAD_BYTES
  for start, stop in chunks.spans(window.data, head, header):
    layer, channel = divmod(len(entries), header.channels)
    if layer == wanted or layer > max(good):
      break
    entries.append(bytes(window.data[start:stop]))
    if good[channel] == layer and chunks.is_whole(
      entries[-1], head, layer=layer, channel=channel, filling=filling
    ):
      good[channel] += 1
      whole_bytes = stop
  # A layer that is cut off is none, also in channels that have it.
  cut = len(entries) // header.channels
  good = [min(count, cut) for count in good]
  entries = entries[: max(good) * header.channels]
  return Chunk(head, tuple(good), entries), whole_bytes


def complaints(
  header: header_lib.Header, chunk: Chunk, layers: int
) -> Iterator[Damage]:
  """Says of each channel which layer is damaged."""
  wanted = min(layers, chunk.head.num_quantizers)
  frames = _count(chunk.head.frames, "frame")
  if not any(chunk.layers):
    text = f"the first layer is damaged: {frames} lost"
    yield _damage(header, chunk.head.first_frame, text)
    return
  for channel, good in enumerate(chunk.layers):
    if good == wanted:
      continue
    where = f" of channel {channel + 1}" if len(chunk.layers) > 1 else ""
    text = f"the first layer{where} is damaged: {frames} lost"
    if good:
      text = (
        f"layer {good + 1}{where} is damaged: {_count(good, 'layer')} left for "
        f"{frames}"
      )
    yield _damage(header, chunk.head.first_frame, text)


def _extent(
  window: _Window,
  head: chunks.Head,
  whole_bytes: int,
  header: header_lib.Header,
) -> int:
  """How far a chunk reaches: as claimed, unless bytes of it were lost."""
  size = head.chunk_bytes
  if whole_bytes == size:
    return size
  window.fill(size + chunks.HEAD_BYTES)
  following = window.data[size : size + chunks.HEAD_BYTES]
  at_end = len(window.data) == size
  fits = at_end or chunks.parse(following, header) is not None
  # Whole chunks may be as long as what was lost before them.
  if fits and not _holds_head(window.data[whole_bytes:size], header):
    return size
  return whole_bytes


def _holds_head(data: bytearray, header: header_lib.Header) -> bool:
  """True where a chunk begins somewhere in the data."""
  place = data.find(chunks.MARKER)
  while place >= 0:
    found = data[place : place + chunks.HEAD_BYTES]
    if chunks.parse(found, header) is not None:
      return True
    place = data.find(chunks.MARKER, place + 1)
  return False


def _lost(
  header: header_lib.Header, position: int, until: int
) -> Iterator[Damage]:
  if until > position:
    text = f"{_count(until - position, 'frame')} missing"
    yield _damage(header, position, text)


def _rest(
  window: _Window, header: header_lib.Header, position: int
) -> Iterator[Damage]:
  if window.fill(1):
    yield _damage(header, position, "more bytes follow the end")


def _damage(header: header_lib.Header, frame: int, text: str) -> Damage:
  seconds = Fraction(frame * header.hop_samples, header.model_rate_hz)
  return Damage(seconds=seconds, text=text)


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}{'' if number == 1 else 's'}"
