"""`soundstream stream`: sound from a pipe into packets in a pipe, and back.

    arecord -f S16_LE -r 24000 | soundstream stream --model=M | nc HOST PORT
    nc -l PORT | soundstream stream --decode --model=M | aplay -f S16_LE -r 24000

Sound is 16-bit little-endian PCM at the model's rate, channels interleaved; the
header of a WAV that fits, as arecord writes one, is left out.
Packets are those of an .sstr stream, or raw ones. A chunk is written as soon as
its last frame is encoded, and decoded as soon as it is read whole.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from soundstream_jax import errors
from soundstream_jax.cli import model_check, options
from soundstream_jax.cli.files import pipes
from soundstream_jax.codec.sstr import (
  limits,
  raw,
  reader,
  scan,
  version1,
  writer,
)
from soundstream_jax.codec.sstr.entropy import table_files
from soundstream_jax.codec.stream import first_bytes

if TYPE_CHECKING:
  from soundstream_jax.codec import trained_model
  from soundstream_jax.codec.stream import decoder as decoder_lib

HELP = "sound in a pipe -> packets in a pipe, and back"

# A read gives what is there, at most this much.
_READ_BYTES = 1 << 16
_SAMPLE = np.dtype("<i2")


def add_arguments(parser: options.Parser) -> None:
  options.add_model(parser)
  options.add_denoise(parser, "encoder, or with --decode in its decoder")
  options.add_bitrate(parser)
  parser.add_argument(
    "--decode", action="store_true", help="packets -> sound, not the reverse"
  )
  parser.add_argument(
    "--channels",
    type=int,
    metavar="N",
    help="of the sound that is encoded; default: 1",
  )
  parser.add_argument(
    "--chunk_frames",
    type=int,
    metavar="F",
    help=f"of a packet, 1 to {writer.STREAM_FRAMES} (default)",
  )
  parser.add_argument(
    "--raw",
    action="store_true",
    help="packets of one size, a frame each, without any header",
  )


def run(arguments: argparse.Namespace) -> int:
  """Encodes or decodes from stdin to stdout until stdin ends.

  A signal (Ctrl-C, SIGTERM) ends the stream as its input's end does.

  Returns:
    The exit code: 0, or that of the signal.

  Raises:
    InputError: what the model cannot do, or packets that are none.
  """
  _check(arguments)
  work = _decode if arguments.decode else _encode
  target = pipes.output()
  with pipes.Input() as source:
    work(arguments, source, target)
    target.flush()
  return source.code


def _encode(
  arguments: argparse.Namespace, source: pipes.Input, target: BinaryIO
) -> None:
  from soundstream_jax.codec import serialization
  from soundstream_jax.codec.stream import encoder as encoder_lib

  channels = arguments.channels or 1
  model = model_check.load(arguments)
  encoder = encoder_lib.StreamEncoder(
    model,
    streams=channels,
    bitrate_bps=arguments.bitrate,
    denoise=arguments.denoise,
  )
  rate_hz = model.rates.sample_rate_hz
  sound = first_bytes.sound(source, rate_hz=rate_hz, channels=channels)
  sink = raw.Writer(target, model.rates.bits_per_code)
  if not arguments.raw:
    sink = writer.Writer(
      target,
      serialization.header(
        model,
        num_quantizers=encoder.num_quantizers,
        source_samples=None,
        source_channels=channels,
        chunk_frames=writer.STREAM_FRAMES,
      ),
      chunk_frames=arguments.chunk_frames,
    )
  samples = 0
  for audio in _pcm(sound, channels):
    samples += audio.shape[1]
    sink.write(encoder.push(audio))
    target.flush()
  sink.write(encoder.flush())
  sink.close(samples)
  target.flush()
  if not source.code and (
    remark := sound.finish(
      bytes_per_second=rate_hz * channels * _SAMPLE.itemsize
    )
  ):
    print(f"damaged: standard input: {remark}.", file=sys.stderr)


def _decode(
  arguments: argparse.Namespace, source: pipes.Input, target: BinaryIO
) -> None:
  from soundstream_jax.audio import waveform

  decode = _decode_packets if arguments.raw else _decode_chunks
  packets = first_bytes.packets(source, raw=arguments.raw)
  for audio in decode(arguments, packets):
    target.write(waveform.to_int16(audio.T).astype(_SAMPLE).tobytes())
    target.flush()


def _decode_chunks(
  arguments: argparse.Namespace, source: first_bytes.Rest
) -> Iterator[np.ndarray]:
  """Yields audio [C, N] of an .sstr stream; damage is named on stderr."""
  header, _ = reader.read_header(source)
  if header.version == version1.VERSION:
    raise errors.InputError(
      "this is a file of version 1, not a stream. Use soundstream decode."
    )
  from soundstream_jax.codec.stream import receiver

  model = model_check.load(arguments)
  model_check.check("stdin", header, model, arguments)
  tables = None
  if any(header.tables):
    tables = table_files.read(arguments.model, header.tables)
  decoder = _decoder(model, header.channels, arguments, header.bitrate_bps)
  yield from receiver.audio(
    decoder, header, source, report=_report_damage, tables=tables
  )


def _decode_packets(
  arguments: argparse.Namespace, source: first_bytes.Rest
) -> Iterator[np.ndarray]:
  """Yields audio [1, N] of raw packets."""
  model = model_check.load(arguments)
  layers = model.layers_for(arguments.bitrate)
  decoder = _decoder(model, 1, arguments, arguments.bitrate)
  size = raw.packet_bytes(layers, model.rates.bits_per_code)
  for packets in _whole(source, size, "a packet"):
    codes = raw.unpack(packets, layers, model.rates.bits_per_code)
    yield decoder.push(codes[None])


def _decoder(
  model: "trained_model.TrainedModel",
  channels: int,
  arguments: argparse.Namespace,
  bitrate_bps: float | None,
) -> "decoder_lib.StreamDecoder":
  from soundstream_jax.codec.stream import decoder as decoder_lib

  return decoder_lib.StreamDecoder(
    model,
    streams=channels,
    bitrate_bps=bitrate_bps,
    denoise=arguments.denoise,
  )


def _report_damage(damage: scan.Damage) -> None:
  print(f"damaged: {damage}", file=sys.stderr, flush=True)


def _pcm(source: first_bytes.Rest, channels: int) -> Iterator[np.ndarray]:
  """Yields float32 [C, N] as it comes."""
  from soundstream_jax.audio import waveform

  size = channels * _SAMPLE.itemsize
  for data in _whole(source, size, "a sample"):
    pcm = np.frombuffer(data, _SAMPLE).reshape(-1, channels)
    yield waveform.to_float32(np.ascontiguousarray(pcm.T))


def _whole(source: first_bytes.Rest, size: int, what: str) -> Iterator[bytes]:
  """Yields what comes, cut to multiples of `size` bytes."""
  left = b""
  while data := source.read1(_READ_BYTES):
    left += data
    whole = len(left) // size * size
    if whole:
      yield left[:whole]
      left = left[whole:]
  if left:
    print(
      f"{len(left)} bytes at the end of the input are less than {what} of "
      f"{size} bytes; they are left out.",
      file=sys.stderr,
    )


def _check(arguments: argparse.Namespace) -> None:
  """Refuses options that do not go together."""
  command = "soundstream stream"
  if arguments.decode:
    given = {
      "--channels": arguments.channels,
      "--chunk_frames": arguments.chunk_frames,
    }
    for name, value in given.items():
      if value is not None:
        raise errors.InputError(
          f"{command} --decode: {name} is for encoding; a stream says its own."
        )
    if arguments.raw and arguments.bitrate is None:
      raise errors.InputError(
        f"{command} --decode: raw packets do not say their bitrate. Give the "
        "--bitrate that they were encoded at."
      )
    if arguments.bitrate is not None and not arguments.raw:
      raise errors.InputError(
        f"{command} --decode: a stream says its bitrate; --bitrate is for "
        "--raw. Use soundstream transcode - - for a lower one."
      )
  channels, frames = arguments.channels or 1, arguments.chunk_frames or 1
  most = 1 if arguments.raw else limits.MAX_CHANNELS
  if not 1 <= channels <= most:
    raise errors.InputError(
      f"{command}: --channels={channels} is not from 1 to {most}"
      f"{', as raw packets are of one' if arguments.raw else ''}."
    )
  if not 1 <= frames <= writer.STREAM_FRAMES:
    raise errors.InputError(
      f"{command}: --chunk_frames={frames} is not from 1 to "
      f"{writer.STREAM_FRAMES}."
    )
