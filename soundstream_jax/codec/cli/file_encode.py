"""Encodes one audio file into one .sstr file, or into raw packets."""

import dataclasses
import pathlib

from soundstream_jax import errors, whole_files
from soundstream_jax.audio import reading, resampling, waveform
from soundstream_jax.codec import offline, serialization, trained_model
from soundstream_jax.codec.cli import printing
from soundstream_jax.codec.sstr import limits, raw, writer
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


@dataclasses.dataclass(frozen=True)
class Options:
  """How files are encoded."""

  bitrate_bps: float | None  # of one channel; None: the model's highest
  denoise: bool
  mono: bool  # the mean of the channels
  raw: bool  # packets instead of a file
  tables: tables_lib.Tables | None = None  # of the entropy coder


@dataclasses.dataclass(frozen=True)
class Encoded:
  """Sizes of one file that was encoded."""

  seconds: float  # of audio
  lines: tuple[str, str]  # what was read and what was written


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
  source: pathlib.Path,
  target: pathlib.Path,
) -> Encoded:
  """Encodes a file; the other appears under its name when it is complete.

  Raises:
    InputError: a file that cannot be read, or that the options do not fit.
    DiskError: the disk cannot be written to.
  """
  audio, rate_hz = reading.read(source)
  samples, channels = audio.shape
  if options.raw and channels > 1 and not options.mono:
    raise errors.InputError(
      f"{source}: it has {channels} channels, and raw packets are of one. Use "
      "--mono for their mean."
    )
  if channels > limits.MAX_CHANNELS and not options.mono:
    raise errors.InputError(
      f"{source}: it has {channels} channels, and a file keeps "
      f"{limits.MAX_CHANNELS}. Use --mono for their mean."
    )
  try:
    header = serialization.header(
      model,
      num_quantizers=model.layers_for(options.bitrate_bps),
      source_samples=samples,
      source_rate_hz=rate_hz,
      source_channels=channels,
      channels=1 if options.mono else channels,
      tables=options.tables,
    )
  except errors.InputError as error:
    raise errors.InputError(f"{source}: {error}") from None
  if options.mono:
    audio = waveform.to_mono(audio)[:, None]
  audio = resampling.resample(audio, rate_hz, model.rates.sample_rate_hz)
  codes = offline.encode(
    model, audio.T, bitrate_bps=options.bitrate_bps, denoise=options.denoise
  )
  what = f"{header.num_quantizers} layers"
  if options.raw:
    packet = raw.packet_bytes(header.num_quantizers, header.code_bits)
    what = f"{header.frames} packets of {packet} bytes, {what}"
    with whole_files.opened(target) as file:
      size = file.write(raw.pack(codes[0], header.code_bits))
  else:
    size = writer.write(target, header, codes, tables=options.tables)
  steps = [f"{rate_hz} Hz", printing.count(channels, "channel")]
  if channels > header.channels:
    steps.append("mixed down to 1 channel")
  if rate_hz != model.rates.sample_rate_hz:
    steps.append(f"resampled to {model.rates.sample_rate_hz} Hz")
  lines = (
    f"{source}: {printing.seconds(samples, rate_hz)}, {', '.join(steps)}",
    f"{target}: {size} bytes, {what}, {printing.bitrate(header, size, samples)}"
    f"; model step {model.step} ({model.weights})",
  )
  return Encoded(samples / rate_hz, lines)
