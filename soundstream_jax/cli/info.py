"""`soundstream info`: prints all that an .sstr file says, and checks it.

One chunk at a time is in memory, and no codes are decoded.
"""

import argparse
import collections
import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from soundstream_jax import console, endings, errors, rates
from soundstream_jax.cli import options, printing
from soundstream_jax.cli.files import pipes
from soundstream_jax.codec.sstr import chunks, files, reader, scan, version1
from soundstream_jax.codec.sstr import header as header_lib

HELP = "what an .sstr file holds; needs no model"


def add_arguments(parser: options.Parser) -> None:
  parser.add_argument(
    "input", type=options.path, metavar="FILE", help="or - for a pipe"
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints what an .sstr file holds.

  Raises:
    InputError: damage anywhere; the first. Or a standard output that is closed.
  """
  pipes.output()
  with _opened(arguments.input) as source:
    file = _Counted(source)
    header, start = reader.read_header(file)
    if header.version == version1.VERSION:
      version1.from_bytes(start + file.read())
      lines, samples = _version1(header), header.source_samples
    else:
      lines, samples = _version2(header, file)
  size = file.size
  lines = {
    "file": pipes.NAME
    if arguments.input == pipes.PIPE
    else console.shown(arguments.input),
    "format": f".sstr version {header.version}",
    **lines,
    "bitrate": printing.bitrate(header, size, samples),
    "latency": "algorithmic latency: one hop, "
    f"{header.hop_samples} samples, "
    f"{1000 * header.hop_samples / header.model_rate_hz:.1f} ms",
    "fingerprint": header.fingerprint.hex(),
    "step": f"{header.step} ({header.weights})",
  }
  for name, text in lines.items():
    print(f"{name + ':':<13}{text}")


@contextlib.contextmanager
def _opened(argument: str) -> Iterator[BinaryIO]:
  """Opens a file, or standard input, which is read once."""
  if argument != pipes.PIPE:
    with files.opened(argument) as file:
      yield file
    return
  with files.naming(pipes.NAME), pipes.Input() as file:
    yield file
  if file.code:
    raise endings.Stopped(file.code)


class _Counted:
  """Counts the bytes that are read."""

  def __init__(self, file: BinaryIO):
    self.size = 0
    self._file = file

  def read(self, size: int = -1) -> bytes:
    data = self._file.read(size)
    self.size += len(data)
    return data


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
        planes = [chunks.plane(r, event.head.kind) for r in event.entries]
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
  span_s = printing.seconds(
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
    f"{printing.count(header.source_channels, 'channel')}, "
    f"{printing.seconds(samples, header.source_rate_hz)}"
  )


def _model(header: reader.Header, samples: int) -> str:
  return (
    f"{header.model_rate_hz} Hz, {header.model_samples_of(samples)} samples, "
    f"{printing.count(header.channels, 'channel')}, hop {header.hop_samples}"
  )
