"""What `soundstream info` prints: all that an .sstr file says, after checking.

A chunk is in memory at a time, and no codes are made of it.
"""

import argparse
import collections
import os
from fractions import Fraction

from soundstream_jax import errors, rates
from soundstream_jax.codec.sstr import chunks, files, reader, scan, version1
from soundstream_jax.codec.sstr import header as header_lib


def info(arguments: argparse.Namespace) -> None:
  """Prints what an .sstr file holds.

  Raises:
    InputError: damage anywhere; the first.
  """
  with files.opened(arguments.input) as file:
    header, start = reader.read_header(file)
    if header.version == version1.VERSION:
      version1.from_bytes(start + file.read())
      rows, samples = _version1(header), header.source_samples
    else:
      rows, samples = _version2(header, file)
    size = os.fstat(file.fileno()).st_size
  rows = {
    "file": arguments.input,
    "format": f".sstr version {header.version}",
    **rows,
    "bitrate": bitrate(header, size, samples),
    "latency": "algorithmic latency: one hop, "
    f"{header.hop_samples} samples, "
    f"{1000 * header.hop_samples / header.model_rate_hz:.1f} ms",
    "fingerprint": header.fingerprint.hex(),
    "step": f"{header.step} ({header.weights})",
  }
  for name, text in rows.items():
    print(f"{name + ':':<13}{text}")


def nominal(header: reader.Header) -> str:
  """Says what the codes of a channel cost."""
  each = " a channel" if header.channels > 1 else ""
  return f"{rates.describe_bps(header.bitrate_bps)} bit/s nominal{each}"


def bitrate(header: reader.Header, size: int, source_samples: int) -> str:
  """Says what a file's codes and all of it cost."""
  if not source_samples:
    return f"{nominal(header)}, no audio"
  actual = Fraction(8 * size * header.source_rate_hz, source_samples)
  return f"{nominal(header)}, {float(actual):.1f} bit/s on disk"


def count(number: int, noun: str) -> str:
  return f"{number} {noun}{'' if number == 1 else 's'}"


def seconds(samples: int, rate_hz: int) -> str:
  return f"{samples / rate_hz:.3f} s"


def _version1(header: version1.Header) -> dict[str, str]:
  size = version1.HEADER_BYTES + header.payload_bytes
  return {
    "size": f"{size} bytes = {version1.HEADER_BYTES} header + "
    f"{header.payload_bytes} payload",
    "source": _source(header, header.source_samples),
    "model": _model(header, header.source_samples),
    "codes": f"{header.frames} frames of {header.num_quantizers} layers, "
    f"{header.codebook_size} codes of {header.code_bits} bits",
  }


def _version2(header: header_lib.Header, file) -> tuple[dict[str, str], int]:
  sizes, layers = collections.Counter(), set()
  frames, samples = 0, header.source_samples
  for event in scan.events(file, header):
    match event:
      case scan.Damage():
        raise errors.InputError(f"{event}.")
      case scan.End():
        samples = event.source_samples
        sizes["end"] += chunks.END_BYTES
      case scan.Chunk():
        planes = [chunks.plane(r, event.head.kind) for r in event.records]
        sizes["chunks"] += 1
        sizes["codes"] += sum(map(len, planes))
        sizes["overhead"] += event.head.chunk_bytes - sum(map(len, planes))
        layers.add(event.head.num_quantizers)
        frames = event.head.stop_frame
  size = header_lib.HEADER_BYTES
  size += sizes["codes"] + sizes["overhead"] + sizes["end"]
  coded = "entropy coded" if any(header.tables) else "packed"
  span = f"{min(layers)} to {max(layers)}" if len(layers) > 1 else None
  possible = [
    rates.describe_bps(header.rates.bitrate_bps(q))
    for q in range(1, header.num_quantizers + 1)
  ]
  span_s = seconds(
    header.chunk_frames * header.hop_samples, header.model_rate_hz
  )
  return {
    "size": f"{size} bytes = {header_lib.HEADER_BYTES} header + "
    f"{sizes['overhead']} chunk headers and checksums + {sizes['codes']} codes"
    + (f" + {sizes['end']} end" if sizes["end"] else ""),
    "source": _source(header, samples),
    "model": f"{_model(header, samples)}, strides "
    f"{' '.join(map(str, header.strides))}",
    "codes": f"{frames} frames of {span or header.num_quantizers} layers (of "
    f"{header.model_quantizers}), {header.codebook_size} codes of "
    f"{header.code_bits} bits, {coded}",
    "chunks": f"{sizes['chunks']} of up to {header.chunk_frames} frames, "
    f"{span_s}",
    "rates": f"{', '.join(possible)} bit/s by transcode",
  }, samples


def _source(header: reader.Header, samples: int) -> str:
  return (
    f"{header.source_rate_hz} Hz, {samples} samples, "
    f"{count(header.source_channels, 'channel')}, "
    f"{seconds(samples, header.source_rate_hz)}"
  )


def _model(header: reader.Header, samples: int) -> str:
  return (
    f"{header.model_rate_hz} Hz, {header.model_samples_of(samples)} samples, "
    f"{count(header.channels, 'channel')}, hop {header.hop_samples}"
  )
