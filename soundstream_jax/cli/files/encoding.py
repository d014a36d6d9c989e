"""Encodes one audio file into one .sstr file, or into raw packets.

The sound passes through block by block: memory does not grow with its length.
"""

import dataclasses
from typing import BinaryIO

from soundstream_jax import errors
from soundstream_jax.audio import reading
from soundstream_jax.cli import printing
from soundstream_jax.codec import recording, serialization, trained_model
from soundstream_jax.codec.sstr import files, limits, raw, writer
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


@dataclasses.dataclass(frozen=True)
class Options:
  """How files are encoded."""

  bitrate_bps: float | None  # of one channel; None: the model's highest
  denoise: bool
  mono: bool  # the mean of the channels
  raw: bool  # packets instead of a file
  tables: tables_lib.Tables | None = None  # of the entropy coder


def check(model: trained_model.TrainedModel, options: Options) -> None:
  """Refuses what the model cannot do, before a file is read.

  Raises:
    InputError: another bitrate, or denoising.
  """
  model.check_denoise(options.denoise, "encoder")
  model.layers_for(options.bitrate_bps)


def encode(
  model: trained_model.TrainedModel,
  options: Options,
  sound: reading.Sound,
  target: BinaryIO,
  *,
  name: str,
) -> printing.Done:
  """Encodes a file.

  Args:
    model: that encodes.
    options: how.
    sound: not read yet.
    target: is written; a file, which is gone back to at its end.
    name: of the target.

  Raises:
    InputError: sound that cannot be read, or that the options do not fit.
  """
  if sound.channels > 1 and options.raw and not options.mono:
    raise errors.InputError(
      f"{sound.name}: it has {sound.channels} channels, and raw packets are of "
      "one. Use --mono for their mean."
    )
  if sound.channels > limits.MAX_CHANNELS and not options.mono:
    raise errors.InputError(
      f"{sound.name}: it has {sound.channels} channels, and a file keeps "
      f"{limits.MAX_CHANNELS}. Use --mono for their mean."
    )
  with files.naming(sound.name):
    header = serialization.header(
      model,
      num_quantizers=model.layers_for(options.bitrate_bps),
      source_samples=None,  # which nobody knows before the last
      source_rate_hz=sound.rate_hz,
      source_channels=sound.channels,
      channels=1 if options.mono else sound.channels,
      chunk_frames=writer.FILE_FRAMES,
      tables=options.tables,
    )
    sink = (
      raw.Writer(target, header.code_bits)
      if options.raw
      else writer.Writer(target, header, tables=options.tables)
    )
    for _, codes in recording.encode(
      model,
      sound,
      mono=options.mono,
      bitrate_bps=options.bitrate_bps,
      denoise=options.denoise,
    ):
      sink.write(codes)
    size = sink.close_file(sound.samples)
  header = dataclasses.replace(header, source_samples=sound.samples)
  return printing.Done(
    seconds=sound.samples / sound.rate_hz,
    lines=(
      _heard(sound, header),
      f"{name}: {size} bytes, {_written(options, header)}, "
      f"{printing.bitrate(header, size, sound.samples)}; model step "
      f"{model.step} ({model.weights})",
    ),
    damages=(sound.damage,) if sound.damage else (),
  )


def _heard(sound: reading.Sound, header: header_lib.Header) -> str:
  steps = [f"{sound.rate_hz} Hz", printing.count(sound.channels, "channel")]
  if sound.channels > header.channels:
    steps.append("mixed down to 1 channel")
  if sound.rate_hz != header.model_rate_hz:
    steps.append(f"resampled to {header.model_rate_hz} Hz")
  seconds = printing.seconds(sound.samples, sound.rate_hz)
  return f"{sound.name}: {seconds}, {', '.join(steps)}"


def _written(options: Options, header: header_lib.Header) -> str:
  layers = f"{header.num_quantizers} layers"
  if not options.raw:
    return layers
  packet = raw.packet_bytes(header.num_quantizers, header.code_bits)
  return f"{header.frames} packets of {packet} bytes, {layers}"
