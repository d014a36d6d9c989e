"""Mutated files and packets: each is decoded, or refused in one line.

`python tests/codec/sstr/fuzz.py --count=200000` runs long and prints what came of
it; `test_fuzz.py` runs the same for seconds. A mutation is made by its number
alone, so that a failure is run again with `--start=N --count=1`.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import resource
import struct
import time
import zlib

import google_crc32c
import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, raw, reader, transcode, writer
from soundstream_jax.codec.sstr import header as header_lib
from soundstream_jax.codec.sstr.entropy import frequencies

FRAMES, LAYERS, HOP = 40, 3, 4
RAW_LAYERS, RAW_BITS = 3, 6
BITRATES_BPS = (600, 1_200, 1_800, 2_400)
# What the codes of a small file may take.
MAX_CODES_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Sample:
  """A valid file, and which of its bytes to change with more than chance."""

  name: str
  data: bytes
  tables: object = None
  # (offset of a header's or head's start, of its checksum, their function)
  seals: tuple = ()


def samples() -> list[Sample]:
  """One small file of each kind."""
  header = header_lib.Header(
    source_rate_hz=400,
    source_samples=FRAMES * HOP - 1,
    source_channels=2,
    channels=2,
    model_rate_hz=400,
    strides=(HOP,),
    codebook_size=64,
    model_quantizers=4,
    num_quantizers=LAYERS,
    chunk_frames=16,
    fingerprint=bytes(32),
    step=7,
    weights="ema",
  )
  random = np.random.default_rng(0)
  codes = random.geometric(0.2, (2, FRAMES, LAYERS)).clip(1, 64) - 1
  counts = np.bincount(codes.reshape(-1), minlength=64)
  tables = frequencies.from_counts(
    counts[None].repeat(4, axis=0), fingerprint=bytes(32)
  )
  stream = dataclasses.replace(header, source_samples=None)
  coded = dataclasses.replace(header, tables=tables.identity)
  ended = {"source_samples": header.source_samples}
  mono = dataclasses.replace(stream, source_channels=1, channels=1)
  made = {
    "file": writer.to_bytes(header, codes),
    "stream of 8": writer.to_bytes(stream, codes, chunk_frames=8, **ended),
    "stream of 1": writer.to_bytes(mono, codes[:1], chunk_frames=1, **ended),
    "entropy": writer.to_bytes(coded, codes, tables=tables),
  }
  found = [
    Sample(
      name,
      data,
      tables if name == "entropy" else None,
      ((0, 116, google_crc32c.value), *_heads(data)),
    )
    for name, data in made.items()
  ]
  old = _version_1(codes[0])
  found.append(Sample("version 1", old, seals=((0, 100, zlib.crc32),)))
  return [*found, Sample("raw", raw.pack(codes[0], RAW_BITS))]


def mutated(sample: Sample, random: np.random.Generator) -> bytes:
  """Returns the sample after one to four changes."""
  data = bytearray(sample.data)
  for _ in range(random.integers(1, 5)):
    change = CHANGES[random.integers(len(CHANGES))]
    change(data, sample, random)
  return bytes(data)


def outcome(sample: Sample, data: bytes) -> str:
  """Reads, decodes and transcodes; returns what came of it.

  Raises:
    AssertionError: something that no file may lead to. Other errors but
      InputError are none that a file may lead to either.
  """
  if sample.name == "raw":
    with _refused() as refusal:
      codes = raw.unpack(data, RAW_LAYERS, RAW_BITS)
      assert codes.shape == (len(data) // 3, RAW_LAYERS)
      _check_codes(codes)
    return "refused" if refusal else "decoded"
  with _refused() as strict:
    reader.from_bytes(data, tables=sample.tables)
  with _refused() as tolerant:
    recording = reader.from_bytes(data, strict=False, tables=sample.tables)
    assert recording.codes.nbytes <= MAX_CODES_BYTES
    assert recording.layers.max(initial=0) <= recording.codes.shape[2]
    assert bool(strict) == bool(recording.damages)
    assert recording.layers.shape == recording.codes.shape[:2]
    _check_codes(recording.codes)
  for bitrate_bps in BITRATES_BPS[:3:2]:
    target = io.BytesIO()
    with _refused() as lowered:
      transcode.transcode(
        io.BytesIO(data), target, bitrate_bps=bitrate_bps, report=str
      )
    if not lowered and not tolerant:
      again = reader.from_bytes(
        target.getvalue(), strict=False, tables=sample.tables
      )
      layers = np.minimum(recording.layers, again.codes.shape[2])
      np.testing.assert_array_equal(again.layers, layers)
  if tolerant:
    assert strict
    return "refused"
  return "damaged" if strict else "decoded"


def _check_codes(codes: np.ndarray) -> None:
  """What a decoder asks of codes."""
  assert codes.dtype == np.int32
  assert 0 <= codes.min(initial=0) <= codes.max(initial=0) < 65_536


def run(start: int, count: int) -> dict:
  """Runs mutations; returns counts, and the seconds of the slowest."""
  kinds = samples()
  found, slowest = collections.Counter(), (0.0, start)
  for number in range(start, start + count):
    random = np.random.default_rng(number)
    sample = kinds[random.integers(len(kinds))]
    data = mutated(sample, random)
    began = time.perf_counter()
    try:
      found[f"{sample.name}: {outcome(sample, data)}"] += 1
    except Exception as error:
      error.add_note(f"mutation {number} of {sample.name!r}: {data.hex()}")
      raise
    slowest = max(slowest, (time.perf_counter() - began, number))
  return {"outcomes": dict(sorted(found.items())), "slowest_s": slowest[0]}


def _flip_bit(data, sample, random):
  if data:
    data[random.integers(len(data))] ^= 1 << random.integers(8)


def _set_run(data, sample, random):
  start, stop = _piece(data, random)
  filling = (b"\0", b"\xff", None)[random.integers(3)]
  size = stop - start
  data[start:stop] = random.bytes(size) if filling is None else filling * size


def _truncate(data, sample, random):
  del data[random.integers(len(data) + 1) :]


def _cut(data, sample, random):
  start, stop = _piece(data, random)
  del data[start:stop]


def _insert(data, sample, random):
  place = random.integers(len(data) + 1)
  data[place:place] = random.bytes(random.integers(1, 40))


def _splice(data, sample, random):
  """A piece of the file to another place of it."""
  start, stop = _piece(data, random)
  piece, place = bytes(data[start:stop]), random.integers(len(data) + 1)
  over = len(piece) * random.integers(2)
  data[place : place + over] = piece


def _swap_chunks(data, sample, random):
  """Two chunks in each other's place, or one over the other."""
  starts = [start for start, *_ in sample.seals[1:]] + [len(sample.data)]
  if len(starts) < 3:
    return
  one, other = sorted(random.integers(0, len(starts) - 1, 2))
  a, b = starts[one : one + 2], starts[other : other + 2]
  first, second = sample.data[slice(*a)], sample.data[slice(*b)]
  data[slice(*b)] = first
  if random.integers(2):
    data[slice(*a)] = second


def _reseal(data, sample, random):
  """Another field in a header or a chunk's head, with a right checksum."""
  if not sample.seals:
    return
  start, checksum, function = sample.seals[
    0 if random.integers(2) else random.integers(len(sample.seals))
  ]
  if checksum + 4 > len(data):
    return
  size = (1, 2, 4, 8)[random.integers(4)]
  place = random.integers(start + 3, checksum)
  values = (0, 1, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 10**12, 2**64 - 1)
  value = values[random.integers(len(values))]
  if random.integers(2):
    old = int.from_bytes(data[place : place + size], "little")
    value = old + int(random.integers(-3, 4))
  value %= 1 << 8 * size
  data[place : place + size] = value.to_bytes(size, "little")
  sealed = function(bytes(data[start:checksum]))
  struct.pack_into("<I", data, checksum, sealed)


CHANGES = (
  *(_flip_bit, _set_run, _truncate, _cut, _insert, _splice),
  *(_swap_chunks, _reseal, _reseal, _reseal),
)


def _piece(data, random):
  start = int(random.integers(len(data) + 1))
  return start, min(len(data), start + int(random.integers(1, 60)))


def _heads(data):
  header = header_lib.Header.from_bytes(data)
  seals, place = [], header_lib.HEADER_BYTES
  while place < len(data):
    head = chunks.parse(data[place : place + chunks.HEAD_BYTES], header)
    seals.append((place, place + 16, google_crc32c.value))
    place += head.chunk_bytes
  return seals


def _version_1(codes):
  payload = raw.pack(codes.reshape(1, -1), RAW_BITS)
  samples = FRAMES * HOP
  data = struct.pack(
    "<4sBBHQQQqIIIIHHB3s32sI",
    *(b"SSTR", 1, 0, 104, samples, samples, FRAMES, 7, 400, 400, HOP, 64, 1),
    *(LAYERS, 1, bytes(3), bytes(32), zlib.crc32(payload)),
  )
  return data + struct.pack("<I", zlib.crc32(data)) + payload


@contextlib.contextmanager
def _refused():
  """Yields a list that gets the line of an InputError."""
  lines = []
  try:
    yield lines
  except errors.InputError as error:
    assert "\n" not in str(error) and len(str(error)) < 1_000
    lines.append(str(error))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--count", type=int, default=200_000)
  parser.add_argument("--start", type=int, default=0)
  arguments = parser.parse_args()
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  began = time.perf_counter()
  result = run(arguments.start, arguments.count)
  seconds = time.perf_counter() - began
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  print(
    f"{arguments.count} mutations in {seconds:.1f} s, the slowest "
    f"{1_000 * result['slowest_s']:.1f} ms; peak memory {peak / 1024:.0f} MiB, "
    f"{before / 1024:.0f} MiB before"
  )
  for name, number in result["outcomes"].items():
    print(f"{name:<24}{number:>8}")


if __name__ == "__main__":
  main()
