"""Decodes one .sstr file, or raw packets, into one wav file.

A file is surveyed first, as a wav file says its length at once, and then its
codes pass through piece by piece: memory does not grow with its length.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import resampling, wav
from soundstream_jax.cli import printing
from soundstream_jax.codec import offline, trained_model
from soundstream_jax.codec.sstr import pieces, raw, reader, version1
from soundstream_jax.codec.sstr.entropy import tables as tables_lib

# A header may claim any source rate, and what it claims is disk.
MAX_UPSAMPLING = 100
_PACKETS = 4_096  # that are read at a time


@dataclasses.dataclass(frozen=True)
class Options:
  """How files are decoded."""

  denoise: bool
  source_rate: bool  # audio gets the source's rate and length
  bitrate_bps: float | None  # of raw packets; None: the input is a file
  # Refuses a file, by its header, that another model made.
  check: Callable[[str, reader.Header], None]
  # Returns the entropy coder's tables of an identity.
  tables: Callable[[bytes], tables_lib.Tables]


def decode(
  model: trained_model.TrainedModel,
  options: Options,
  source: BinaryIO,
  target: BinaryIO,
  *,
  source_name: str,
  target_name: str,
) -> printing.Done:
  """Decodes a file.

  Args:
    model: that decodes.
    options: how.
    source: at its first byte, to be read twice.
    target: is written; a file or a pipe.
    source_name: for messages.
    target_name: likewise.

  Raises:
    InputError: what cannot be decoded, or another model's file.
  """
  if options.bitrate_bps is None:
    heard = _decode_file(model, options, source, target, source_name)
  else:
    heard = _decode_packets(model, options, source, target)
  rate_hz, channels, samples, damages = heard
  seconds = printing.seconds(samples, rate_hz)
  line = (
    f"{target_name}: {samples} samples, {rate_hz} Hz, "
    f"{printing.count(channels, 'channel')}, {seconds}"
  )
  return printing.Done(samples / rate_hz, (line,), tuple(damages))


def _decode_file(
  model: trained_model.TrainedModel,
  options: Options,
  source: BinaryIO,
  target: BinaryIO,
  name: str,
) -> tuple[int, int, int, list]:
  """Returns rate in Hz, channels, samples and damages."""
  header, _ = reader.read_header(source)
  _check_rate(header, options)
  options.check(name, header)
  tables = None
  if header.version != version1.VERSION and any(header.tables):
    tables = options.tables(header.tables)
  source.seek(0)
  surveyed = pieces.survey(source)
  damages = list(surveyed.damages)
  rate_hz, samples = header.model_rate_hz, surveyed.model_samples
  if options.source_rate:
    # Two roundings up may leave a few samples more than the source had.
    rate_hz, samples = header.source_rate_hz, surveyed.source_samples
  source.seek(0)
  codes = pieces.codes(source, surveyed, report=damages.append, tables=tables)
  audio = _resampled(
    _cut(
      _audio(model, options, codes, header.channels), surveyed.model_samples
    ),
    resampling.Resampler(header.model_rate_hz, rate_hz, header.channels),
  )
  sink = wav.Writer(target, rate_hz, channels=header.channels, samples=samples)
  for piece in _cut(audio, samples):
    sink.write(piece)
  sink.close()
  damages.sort(key=lambda damage: damage.seconds)
  return rate_hz, header.channels, samples, damages


def _decode_packets(
  model: trained_model.TrainedModel,
  options: Options,
  source: BinaryIO,
  target: BinaryIO,
) -> tuple[int, int, int, list]:
  """As `_decode_file`, of whole frames of one channel."""
  layers = model.layers_for(options.bitrate_bps)
  bits = model.rates.bits_per_code
  size = source.seek(0, os.SEEK_END)
  packet_bytes = raw.packet_bytes(layers, bits)
  raw.check_size(size, layers, bits)
  samples = size // packet_bytes * model.rates.hop_samples
  rate_hz = model.rates.sample_rate_hz
  sink = wav.Writer(target, rate_hz, channels=1, samples=samples)

  def packets() -> Iterator[pieces.Piece]:
    source.seek(0)
    first = 0
    while data := source.read(_PACKETS * packet_bytes):
      codes = raw.unpack(data, layers, bits, first=first)
      first += len(codes)
      yield codes[None], np.full((1, len(codes)), layers)

  for piece in _audio(model, options, packets(), 1):
    sink.write(piece)
  sink.close()
  return rate_hz, 1, samples, []


def _audio(
  model: trained_model.TrainedModel,
  options: Options,
  codes: Iterable[pieces.Piece],
  channels: int,
) -> Iterator[np.ndarray]:
  """Yields float32 [N, C] of whole frames."""
  decoder = offline.ClipDecoder(
    model, channels=channels, denoise=options.denoise
  )
  for given, layers in codes:
    yield decoder.push(given, layers).T
  yield decoder.flush().T


def _resampled(
  audio: Iterable[np.ndarray], resampler: resampling.Resampler
) -> Iterator[np.ndarray]:
  for piece in audio:
    yield resampler.push(piece)
  yield resampler.flush()


def _cut(audio: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
  """Yields the first samples [N, C]; what comes after them is not asked for."""
  for piece in audio:
    if not samples:
      return
    yield piece[:samples]
    samples -= len(piece[:samples])


def _check_rate(header: reader.Header, options: Options) -> None:
  if (
    options.source_rate
    and header.source_rate_hz > MAX_UPSAMPLING * header.model_rate_hz
  ):
    raise errors.InputError(
      f"the source's rate, {header.source_rate_hz} Hz, is more than "
      f"{MAX_UPSAMPLING} times the model's. Use --rate=model."
    )
