"""What `soundstream encode`, `decode`, `transcode` and `export` do.

Each takes the parsed arguments, prints what it did on stdout and raises
InputError before it has written anything. Damage in spite of which a file is
decoded is named on stderr.
"""

import argparse
import contextlib
import functools
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.cli import info, model_check, paths
from soundstream_jax.codec.sstr import files, raw, reader, scan, version1
from soundstream_jax.codec.sstr import transcode as transcode_lib
from soundstream_jax.codec.sstr.entropy import table_files

# jax and the model are imported where a command needs them: --help and a
# mistyped path answer at once.

# Lines of damage that are printed; a long file may have thousands.
MAX_REPORTED = 20
# A header may claim any source rate, and what it claims is memory.
MAX_UPSAMPLING = 100


def encode(arguments: argparse.Namespace) -> None:
  """Audio file -> .sstr file or raw packets; or a folder -> a folder."""
  if pathlib.Path(arguments.input).is_dir():
    _encode_folder(arguments)
    return
  source, target = _paths(arguments)
  encode_one = _encoder(arguments)
  print("\n".join(encode_one(source, target).lines))


def _encode_folder(arguments: argparse.Namespace) -> None:
  from soundstream_jax.codec.cli import folder_encode

  todo, skipped = folder_encode.pairs(
    pathlib.Path(arguments.input),
    pathlib.Path(arguments.output),
    suffix=".packets" if arguments.raw else ".sstr",
    force=arguments.force,
  )
  encode_one = _encoder(arguments) if todo else None
  folder_encode.encode(encode_one, todo, skipped=skipped)


def _encoder(arguments: argparse.Namespace):
  """Returns what encodes a file into another: `encoding.encode`."""
  from soundstream_jax.codec.cli import file_encode

  codec = model_check.load(arguments)
  tables = None
  if arguments.entropy:
    if arguments.raw:
      raise errors.InputError(
        "soundstream encode: raw packets are of one size; --entropy is not for "
        "--raw."
      )
    tables = table_files.for_model(arguments.model, codec.fingerprint)
  options = file_encode.Options(
    bitrate_bps=arguments.bitrate,
    denoise=arguments.denoise,
    mono=arguments.mono,
    raw=arguments.raw,
    tables=tables,
  )
  file_encode.check(codec, options)
  return functools.partial(file_encode.encode, codec, options)


def decode(arguments: argparse.Namespace) -> None:
  """.sstr file or raw packets -> wav file."""
  source, target = _paths(arguments)
  if target.suffix.lower() != ".wav":
    raise errors.InputError(
      f"{target}: audio is written as wav. Name it {target.stem}.wav."
    )
  _check_raw(arguments)
  from soundstream_jax.audio import io

  decode_one = _decode_packets if arguments.raw else _decode_file
  audio, rate_hz = decode_one(source, arguments)
  io.write(target, audio, rate_hz)
  samples, channels = audio.shape
  print(
    f"{target}: {samples} samples, {rate_hz} Hz, "
    f"{info.count(channels, 'channel')}, {info.seconds(samples, rate_hz)}"
  )


def transcode(arguments: argparse.Namespace) -> None:
  """.sstr file or stream -> the same at a lower bitrate, without a model."""
  damages = []
  with _transcode_files(arguments) as (source, target):
    header = transcode_lib.transcode(
      source, target, bitrate_bps=arguments.bitrate, report=damages.append
    )
  _report(arguments.input, damages)
  # What goes through a pipe is the stream alone.
  out = sys.stderr if arguments.output == paths.PIPE else sys.stdout
  print(
    f"{arguments.output}: {header.num_quantizers} layers, "
    f"{info.nominal(header)}",
    file=out,
  )


def export(arguments: argparse.Namespace) -> None:
  """A checkpoint, and what tables it has -> a folder without Orbax."""
  from soundstream_jax.codec import exported

  codec = model_check.load(arguments)
  size = exported.write(arguments.output, codec.as_exported())
  for tables in table_files.all_for_model(arguments.model, codec.fingerprint):
    table_files.write(arguments.output, tables)
  print(
    f"{arguments.output}: {size} bytes, step {codec.step} ({codec.weights}), "
    f"fingerprint {codec.fingerprint.hex()[:12]}"
  )


def _decode_file(
  source: pathlib.Path, arguments: argparse.Namespace
) -> tuple[np.ndarray, int]:
  """Returns audio [N, C] and its rate; damage is printed."""
  from soundstream_jax.audio import io

  with files.opened(source) as file:
    header, _ = reader.read_header(file)
  most_hz = MAX_UPSAMPLING * header.model_rate_hz
  if arguments.rate == "source" and header.source_rate_hz > most_hz:
    raise errors.InputError(
      f"{source}: the source's rate, {header.source_rate_hz} Hz, is more than "
      f"{MAX_UPSAMPLING} times the model's. Use --rate=model."
    )
  codec = model_check.load(arguments)
  model_check.check(source, header, codec, arguments)
  codec.check_denoise(arguments.denoise, "decoder")
  tables = None
  if header.version != version1.VERSION and any(header.tables):
    tables = table_files.read(arguments.model, header.tables)
  recording = reader.read(source, strict=False, tables=tables)
  channels = codec.decode(
    recording.codes, layers=recording.layers, denoise=arguments.denoise
  )
  audio = channels.T[: recording.model_samples]
  rate_hz = header.model_rate_hz
  if arguments.rate == "source":
    rate_hz = header.source_rate_hz
    audio = io.resample(audio, header.model_rate_hz, rate_hz)
    # Two roundings up may leave a few samples more than the source had.
    audio = audio[: recording.source_samples]
  _report(source, recording.damages)
  return audio, rate_hz


def _decode_packets(
  source: pathlib.Path, arguments: argparse.Namespace
) -> tuple[np.ndarray, int]:
  """Returns audio [N, 1] of whole frames, and its rate."""
  codec = model_check.load(arguments)
  layers = codec.quantizers_for(arguments.bitrate)
  with files.opened(source) as file:
    codes = raw.unpack(file.read(), layers, codec.rates.bits_per_code)
  audio = codec.decode(codes, denoise=arguments.denoise)
  return audio[:, None], codec.sample_rate


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


@contextlib.contextmanager
def _transcode_files(arguments: argparse.Namespace) -> Iterator[tuple]:
  """Opens input and output, each a file or a pipe."""
  source, target = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
  with contextlib.ExitStack() as stack:
    if arguments.input != paths.PIPE:
      paths.check_input(source)
    if arguments.output != paths.PIPE:
      paths.check_output(target, source, force=arguments.force)
    # The output first: what goes wrong while reading leaves none.
    output = sys.stdout.buffer
    if arguments.output != paths.PIPE:
      output = stack.enter_context(files.replacing(target))
    entered = sys.stdin.buffer
    if arguments.input != paths.PIPE:
      entered = stack.enter_context(files.opened(source))
    yield entered, output


def _paths(
  arguments: argparse.Namespace,
) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns input and output, having checked what costs nothing to check."""
  source, target = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
  paths.check_input(source)
  paths.check_output(target, source, force=arguments.force)
  return source, target


def _report(source: object, damages: Sequence[scan.Damage]) -> None:
  for damage in damages[:MAX_REPORTED]:
    print(f"damaged: {source}: {damage}", file=sys.stderr)
  if len(damages) > MAX_REPORTED:
    more = len(damages) - MAX_REPORTED
    print(f"damaged: {source}: {more} places more", file=sys.stderr)
