"""Cuts layers off files and streams: a lower bitrate, without a model.

Layers refine those before them, and a chunk holds them one after the other, so
a lower bitrate is the beginning of every chunk. The result is, byte for byte,
what encoding at that bitrate would have written.
"""

import dataclasses
from collections.abc import Callable
from typing import BinaryIO

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, reader, scan, version1
from soundstream_jax.codec.sstr import header as header_lib


def transcode(
  source: BinaryIO,
  target: BinaryIO,
  *,
  bitrate_bps: float,
  report: Callable[[scan.Damage], None],
) -> header_lib.Header:
  """Copies a file or a stream with fewer layers, one chunk in memory.

  Damage of layers that are cut off does not matter. Other damage stays damage:
  lost frames stay lost, and a chunk keeps the layers up to the last that is
  whole in one of its channels.

  Args:
    source: at its first byte.
    target: is written from its start on, chunk by chunk.
    bitrate_bps: of one channel; one of the model's, and not above the source's.
    report: called with what is damaged in the layers that are kept.

  Returns:
    The header written.

  Raises:
    InputError: no or a damaged header, version 1, or another bitrate. Nothing
      is written then.
  """
  header, _ = reader.read_header(source)
  if header.version == version1.VERSION:
    raise errors.InputError(
      "version 1 keeps the layers of a frame together; its bitrate cannot be "
      "changed without the model. Decode it and encode it again."
    )
  layers = header.rates.quantizers_for(bitrate_bps)
  if layers > header.num_quantizers:
    raise errors.InputError(
      f"bitrate={bitrate_bps:.10g} bit/s takes {layers} layers, and the file "
      f"has {header.num_quantizers}. Use a lower one."
    )
  written = dataclasses.replace(header, num_quantizers=layers)
  target.write(written.to_bytes())
  for event in scan.events(source, header, layers=layers):
    match event:
      case scan.Chunk():
        body = b"".join(event.entries)
        kept = len(event.entries) // header.channels
        head = dataclasses.replace(
          event.head, num_quantizers=kept, body_bytes=len(body)
        )
        target.write(head.to_bytes() + body)
      case scan.End():
        target.write(chunks.end(event.source_samples, event.frames))
      case scan.Damage():
        report(event)
    target.flush()  # into a pipe a chunk goes when it is there
  return written
