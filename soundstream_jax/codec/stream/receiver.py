"""Receives an .sstr stream: decodes its chunks as they come, lost ones or not.

A chunk is decoded when it is whole. Frames that are missing before it are
concealed, and of layers that are damaged those below are heard.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import coding, reader, scan
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import tables as tables_lib
from soundstream_jax.codec.stream import decoder as decoder_lib

# Sound that is made up for lost frames: at most so much at once, or the loss
# of `reader.MAX_LOSS` times what has come.
MOST_LOST_S = 60
_LOST_FRAMES = 256  # that are made up in one piece


def audio(
  decoder: decoder_lib.StreamDecoder,
  header: header_lib.Header,
  source: BinaryIO,
  *,
  report: Callable[[scan.Damage], None],
  tables: tables_lib.Tables | None = None,
) -> Iterator[np.ndarray]:
  """Yields float32 [C, N] of an .sstr stream; damage is reported.

  Args:
    decoder: a new one, of C streams and the header's bitrate.
    header: of the stream.
    source: after its header.
    report: called with damage when it is found.
    tables: of the entropy coder, where the header names some.

  Raises:
    InputError: more is missing than can be concealed.
  """
  events = scan.events(source, header)
  pieces = _pieces(decoder, header, events, report, tables)
  return _cut(pieces, header.hop_samples)


def _pieces(
  decoder: decoder_lib.StreamDecoder,
  header: header_lib.Header,
  events: Iterable[scan.Chunk | scan.Damage | scan.End],
  report: Callable[[scan.Damage], None],
  tables: tables_lib.Tables | None,
) -> Iterator[tuple[np.ndarray, int | None]]:
  """Yields audio [C, N] of whole frames, and its samples in all once known."""
  position, samples = 0, header.source_samples
  for event in events:
    match event:
      case scan.Damage():
        report(event)
      case scan.Chunk():
        for piece in _concealed(
          decoder, header, position, event.head.first_frame
        ):
          yield piece, None
        yield _decoded(decoder, header, event, tables), None
        position = event.head.stop_frame
      case scan.End():
        samples = event.source_samples
        break
  if samples is None:
    return
  for piece in _concealed(decoder, header, position, header.frames_of(samples)):
    yield piece, None
  yield (
    np.zeros((header.channels, 0), np.float32),
    header.model_samples_of(samples),
  )


def _cut(
  pieces: Iterable[tuple[np.ndarray, int | None]], hop_samples: int
) -> Iterator[np.ndarray]:
  """Yields audio up to its last sample.

  A frame is kept back: only what follows it says how much of it is sound.
  """
  kept, written, samples = None, 0, None
  for piece, total in pieces:
    samples = total
    if kept is not None:
      piece = np.concatenate([kept, piece], axis=1)
    kept = piece[:, -hop_samples:]
    written += piece.shape[1] - kept.shape[1]
    yield piece[:, : piece.shape[1] - kept.shape[1]]
  if kept is not None:
    left = kept.shape[1] if samples is None else max(samples - written, 0)
    yield kept[:, :left]


def _decoded(
  decoder: decoder_lib.StreamDecoder,
  header: header_lib.Header,
  chunk: scan.Chunk,
  tables: tables_lib.Tables | None,
) -> np.ndarray:
  """Returns audio [C, N] of a chunk; its codes may have fewer layers."""
  found, good = coding.decode([chunk], header, tables=tables)
  frames = chunk.head.frames
  codes = np.zeros((header.channels, frames, header.num_quantizers), np.int32)
  codes[..., : found.shape[-1]] = found[0]
  layers = np.repeat(np.asarray(good[0])[:, None], frames, axis=1)
  return decoder.push(codes, layers=layers)


def _concealed(
  decoder: decoder_lib.StreamDecoder,
  header: header_lib.Header,
  come: int,
  until: int,
) -> Iterator[np.ndarray]:
  """Yields audio [C, N] in place of the frames from `come` to `until`.

  Raises:
    InputError: too many; hours of sound are not made up because of a number.
  """
  rate_hz = header.model_rate_hz / header.hop_samples
  if until - come > max(reader.MAX_LOSS * come, MOST_LOST_S * rate_hz):
    raise errors.InputError(
      f"{until - come} frames after the {come} that have come are missing: too "
      "many to go on. Begin a new stream."
    )
  while come < until:
    frames = min(until - come, _LOST_FRAMES)
    shape = header.channels, frames, header.num_quantizers
    lost = np.zeros(shape[:2], np.int32)
    yield decoder.push(np.zeros(shape, np.int32), layers=lost)
    come += frames
