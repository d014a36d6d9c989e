"""`soundstream decode`: an .sstr file or raw packets into a wav file.

Audio libraries and jax are imported by the run, so that --help and a mistyped
path answer at once.
"""

import argparse
import pathlib

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.cli import model_check, options, paths, printing
from soundstream_jax.codec.sstr import files, raw, reader, version1
from soundstream_jax.codec.sstr.entropy import table_files

HELP = ".sstr file -> wav file"
# A header may claim any source rate, and what it claims is memory.
MAX_UPSAMPLING = 100


def add_arguments(parser: options.Parser) -> None:
  options.add_files(parser)
  options.add_model(parser)
  options.add_denoise(parser, "decoder")
  parser.add_argument(
    "--rate",
    choices=("model", "source"),
    default="model",
    help="sample rate of OUTPUT: the model's (default) or the source's",
  )
  parser.add_argument(
    "--raw", action="store_true", help="read packets of encode --raw"
  )
  parser.add_argument(
    "--bitrate", type=options.bitrate, metavar="BPS", help="of raw packets"
  )


def run(arguments: argparse.Namespace) -> None:
  """Decodes and prints how long the audio is; damage is named on stderr.

  Raises:
    InputError: what cannot be decoded or written, or another model's file.
  """
  source, target = paths.checked(arguments)
  if target.suffix.lower() != ".wav":
    raise errors.InputError(
      f"{target}: audio is written as wav. Name it {target.stem}.wav."
    )
  _check_raw(arguments)
  from soundstream_jax.audio import wav

  decode_one = _decode_packets if arguments.raw else _decode_file
  audio, rate_hz = decode_one(source, arguments)
  wav.write(target, audio, rate_hz)
  samples, channels = audio.shape
  print(
    f"{target}: {samples} samples, {rate_hz} Hz, "
    f"{printing.count(channels, 'channel')}, {printing.seconds(samples, rate_hz)}"
  )


def _decode_file(
  source: pathlib.Path, arguments: argparse.Namespace
) -> tuple[np.ndarray, int]:
  """Returns audio [N, C] and its rate; damage is printed."""
  with files.opened(source) as file:
    header, _ = reader.read_header(file)
  most_hz = MAX_UPSAMPLING * header.model_rate_hz
  if arguments.rate == "source" and header.source_rate_hz > most_hz:
    raise errors.InputError(
      f"{source}: the source's rate, {header.source_rate_hz} Hz, is more than "
      f"{MAX_UPSAMPLING} times the model's. Use --rate=model."
    )
  from soundstream_jax.audio import resampling
  from soundstream_jax.codec import offline

  model = model_check.load(arguments)
  model_check.check(source, header, model, arguments)
  model.check_denoise(arguments.denoise, "decoder")
  tables = None
  if header.version != version1.VERSION and any(header.tables):
    tables = table_files.read(arguments.model, header.tables)
  recording = reader.read(source, strict=False, tables=tables)
  channels = offline.decode(
    model,
    recording.codes,
    layers=recording.layers,
    denoise=arguments.denoise,
  )
  audio = channels.T[: recording.model_samples]
  rate_hz = header.model_rate_hz
  if arguments.rate == "source":
    rate_hz = header.source_rate_hz
    audio = resampling.resample(audio, header.model_rate_hz, rate_hz)
    # Two roundings up may leave a few samples more than the source had.
    audio = audio[: recording.source_samples]
  printing.report_damage(source, recording.damages)
  return audio, rate_hz


def _decode_packets(
  source: pathlib.Path, arguments: argparse.Namespace
) -> tuple[np.ndarray, int]:
  """Returns audio [N, 1] of whole frames, and its rate."""
  from soundstream_jax.codec import offline

  model = model_check.load(arguments)
  layers = model.layers_for(arguments.bitrate)
  with files.opened(source) as file:
    codes = raw.unpack(file.read(), layers, model.rates.bits_per_code)
  audio = offline.decode(model, codes, denoise=arguments.denoise)
  return audio[:, None], model.rates.sample_rate_hz


def _check_raw(arguments: argparse.Namespace) -> None:
  """Refuses options that do not go together."""
  if arguments.raw and arguments.bitrate is None:
    raise errors.InputError(
      "soundstream decode: raw packets do not say their bitrate. Give the "
      "--bitrate that they were encoded at."
    )
  if arguments.raw and arguments.rate == "source":
    raise errors.InputError(
      "soundstream decode: raw packets do not say the source's rate. Use "
      "--rate=model."
    )
  if arguments.bitrate is not None and not arguments.raw:
    raise errors.InputError(
      "soundstream decode: a file says its bitrate; --bitrate is for --raw. "
      "Use soundstream transcode for a lower one."
    )
