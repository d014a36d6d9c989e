"""Laws of version 2 of the .sstr file: what each byte is, and how many."""

import dataclasses
import io
import itertools
import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr import chunks, reader, writer
from soundstream_jax.codec.sstr import header as header_lib

HEADER = header_lib.Header(
  source_rate_hz=44_100,
  source_samples=5_500,
  source_channels=2,
  channels=2,
  model_rate_hz=24_000,
  strides=(2, 4, 5, 8),
  codebook_size=1024,
  model_quantizers=24,
  num_quantizers=2,
  chunk_frames=8,
  fingerprint=bytes(range(32)),
  step=600_000,
  weights="ema",
)
# Of ten frames: a chunk of eight, and one of two.
_FIRST = "0 1 2 1023 512 341 682 7 100 1000 3 4 5 6 8 9 10 11 12 13"
CODES = np.array(
  [
    np.array(_FIRST.split(), np.int32).reshape(10, 2),
    [[1023 - i, 64 * i] for i in range(10)],
  ],
  np.int32,
)

# Spelt out after the docstrings' tables, so that no later change of the code
# can move a byte of version 2 unnoticed.
FROZEN = bytes.fromhex(
  "53535452 02 00 7800"  # magic, version, flags, header length
  "7c15000000000000"  # source samples 5500
  "c027090000000000"  # step 600000
  "44ac0000 c05d0000 40010000 00040000"  # rates, hop, K
  "0200 0200 1800 0200 0800"  # source channels, channels, Q, n_q, F
  "01 04"  # ema, four strides
  "0200 0400 0500 0800 0000000000000000"  # strides
  "00000000000000000000000000000000"  # no tables
  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
  "f0358dd7"  # CRC-32C of the header
  # marker, packed, 8 frames, 2 layers, first frame 0, 56 bytes, CRC-32C
  "d35343 00 0800 0200 00000000 38000000 4bc68491"
  "00002802aa1900301408 af134f90"  # layer 0 of channel 0, CRC-32C
  "ffffeff7fcfeffafe7f8 0aad12b9"  # layer 0 of channel 1
  "007ff55407fa00401809 3c41c33f"  # layer 1 of channel 0
  "00040200c040140601c0 eb8e64aa"  # layer 1 of channel 1
  # 2 frames, 2 layers, first frame 8, 28 bytes
  "d35343 00 0200 0200 08000000 1c000000 f8983993"
  "0280c0 6c4496a5"
  "fdff60 b46be9f6"
  "02c0d0 cf69dc22"
  "802400 a57c8338"
)
# The same as a stream that ends: other samples, and what is after the chunks.
FROZEN_END = bytes.fromhex(
  "d35343 ff 0000 0000 0a000000 0c000000 635e18197c15000000000000 3dea570d"
)


def crc32c(data):
  """CRC-32C from its definition, bit by bit."""
  value = 0xFFFFFFFF
  for byte in data:
    value ^= byte
    for _ in range(8):
      value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
  return value ^ 0xFFFFFFFF


def resealed(data, offset, layout, value):
  """Gives a header another field and a valid checksum again."""
  data = bytearray(data)
  struct.pack_into("<" + layout, data, offset, value)
  struct.pack_into("<I", data, 116, google_crc32c.value(bytes(data[:116])))
  return bytes(data)


def codes_of(header, frames, seed=0):
  shape = (header.channels, frames, header.num_quantizers)
  random = np.random.default_rng(seed)
  return random.integers(0, header.codebook_size, shape).astype(np.int32)


def test_version_2_is_frozen():
  assert writer.to_bytes(HEADER, CODES) == FROZEN
  recording = reader.from_bytes(FROZEN)
  np.testing.assert_array_equal(recording.codes, CODES)
  assert recording.codes.dtype == np.int32
  np.testing.assert_array_equal(recording.layers, np.full((2, 10), 2))
  assert recording.header == HEADER
  assert recording.source_samples == 5_500
  assert recording.model_samples == 2_994
  assert recording.damages == ()


def test_a_stream_has_the_same_chunks_and_an_end():
  header = dataclasses.replace(HEADER, source_samples=None)
  data = writer.to_bytes(header, CODES, source_samples=5_500)
  assert data[8:16] == b"\xff" * 8
  assert data[120:] == FROZEN[120:] + FROZEN_END
  recording = reader.from_bytes(data)
  np.testing.assert_array_equal(recording.codes, CODES)
  assert recording.source_samples == 5_500
  assert recording.damages == ()


def test_the_checksum_is_crc_32c_over_the_place_and_the_plane():
  assert crc32c(b"123456789") == 0xE3069283
  assert struct.unpack("<I", FROZEN[116:120])[0] == crc32c(FROZEN[:116])
  place = struct.pack("<IHHH", 8, 2, 1, 0)  # frame, frames, layer, channel
  plane = bytes.fromhex("02c0d0")
  stored = FROZEN[FROZEN.index(plane) + 3 :][:4]
  assert struct.unpack("<I", stored)[0] == crc32c(place + plane)


@given(
  channels=st.integers(1, 3),
  n_q=st.integers(1, 5),
  bits=st.integers(1, 16),
  chunk_frames=st.integers(1, 24),
  frames=st.integers(0, 60),
  ends=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_file_is_as_long_as_the_law_says_and_gives_its_codes_back(
  channels, n_q, bits, chunk_frames, frames, ends
):
  samples = frames * 320
  header = dataclasses.replace(
    HEADER,
    source_rate_hz=24_000,
    source_samples=None if ends else samples,
    source_channels=channels,
    channels=channels,
    codebook_size=1 << bits,
    num_quantizers=n_q,
    chunk_frames=24,
  )
  codes = codes_of(header, frames)
  data = writer.to_bytes(
    header, codes, source_samples=samples, chunk_frames=chunk_frames
  )
  sizes = [
    min(chunk_frames, frames - first)
    for first in range(0, frames, chunk_frames)
  ]
  assert len(data) == 120 + 32 * ends + sum(
    20 + 4 * n_q * channels + n_q * channels * -(-size * bits // 8)
    for size in sizes
  )
  assert len(data) == chunks.file_bytes(header, sizes)
  recording = reader.from_bytes(data)
  np.testing.assert_array_equal(recording.codes, codes)
  assert (recording.layers == n_q).all()
  assert recording.source_samples == samples


@given(st.lists(st.integers(0, 11), max_size=12))
@settings(max_examples=50, deadline=None)
def test_bytes_do_not_depend_on_the_calls_that_codes_came_in(parts):
  frames = sum(parts)
  header = dataclasses.replace(
    HEADER, source_rate_hz=24_000, source_samples=None
  )
  codes, file = codes_of(header, frames), io.BytesIO()
  made = writer.Writer(file, header)
  for start, stop in itertools.pairwise(np.cumsum([0, *parts])):
    made.write(codes[:, start:stop])
  made.close(frames * 320)
  whole = writer.to_bytes(header, codes, source_samples=frames * 320)
  assert file.getvalue() == whole


def test_a_stream_writes_a_chunk_as_soon_as_its_frames_are_there():
  header = dataclasses.replace(
    HEADER, source_rate_hz=24_000, source_samples=None
  )
  for chunk_frames in (1, 8):
    file = io.BytesIO()
    made = writer.Writer(file, header, chunk_frames=chunk_frames)
    for frame in range(16):
      made.write(codes_of(header, 1))
      written = (frame + 1) // chunk_frames
      assert len(file.getvalue()) == 120 + written * (
        20 + 2 * 2 * (4 + -(-chunk_frames * 10 // 8))
      )


def test_audio_without_samples_is_a_header_alone():
  header = dataclasses.replace(HEADER, source_samples=0)
  data = writer.to_bytes(header, np.zeros((2, 0, 2), np.int32))
  assert len(data) == header_lib.HEADER_BYTES
  recording = reader.from_bytes(data)
  assert recording.codes.shape == (2, 0, 2)
  assert recording.damages == ()


def test_chunks_of_fewer_layers_than_the_header_are_read_as_far_as_they_go():
  low = dataclasses.replace(HEADER, num_quantizers=1)
  data = writer.to_bytes(low, CODES[..., :1])
  recording = reader.from_bytes(HEADER.to_bytes() + data[120:])
  assert recording.damages == ()
  np.testing.assert_array_equal(recording.layers, np.full((2, 10), 1))
  np.testing.assert_array_equal(recording.codes[..., :1], CODES[..., :1])
  assert not recording.codes[..., 1:].any()


@pytest.mark.parametrize(
  ("offset", "layout", "value", "match"),
  [
    (0, "4s", b"RIFF", "not an .sstr file"),
    (4, "B", 3, "version 3 .* is unknown; known: 1, 2"),
    (5, "B", 1, "flags=1"),
    (6, "H", 104, "header length=104"),
    (16, "q", -1, "step=-1"),
    (24, "I", 0, "source_rate_hz=0"),
    (28, "I", 0, "model_rate_hz=0"),
    (32, "I", 319, "hop_samples=319 is not the product 320"),
    (36, "I", 1000, "codebook_size=1000 is not a power of two"),
    (36, "I", 0, "codebook_size=0"),
    (36, "I", 1 << 17, "codebook_size=131072"),
    (40, "H", 0, "source_channels=0"),
    (40, "H", 3, "channels=2 is neither 1 nor the source's 3"),
    (42, "H", 0, "channels=0"),
    (42, "H", 17, "channels=17"),
    (44, "H", 0, "model_quantizers=0"),
    (44, "H", 256, "model_quantizers=256"),
    (46, "H", 0, "num_quantizers=0"),
    (46, "H", 25, "num_quantizers=25 is not between 1 and 24"),
    (48, "H", 0, "chunk_frames=0"),
    (48, "H", 12, "chunk_frames=12 is not a multiple of 8"),
    (48, "H", 4104, "chunk_frames=4104"),
    (50, "B", 2, "weights=2"),
    (51, "B", 0, "strides"),
    (51, "B", 9, "strides"),
    (51, "B", 3, "strides"),
    (52, "H", 0, "strides"),
    (60, "H", 1, "strides"),
    (68, "16s", bytes(15) + b"\1", "entropy coded with the tables"),
    (8, "Q", 2**63, "more than 4294967295"),
  ],
)
def test_a_sealed_header_with_a_bad_field_is_refused_by_name(
  offset, layout, value, match
):
  data = resealed(FROZEN, offset, layout, value)
  for strict in (True, False):
    with pytest.raises(errors.InputError, match=match) as refusal:
      reader.from_bytes(data, strict=strict)
    assert "\n" not in str(refusal.value)


def test_headers_that_the_format_cannot_hold_are_refused():
  for change, match in (
    ({"strides": ()}, "strides"),
    ({"strides": (1,) * 9}, "1 to 8"),
    ({"strides": (1 << 16,)}, "16 bits"),
    ({"fingerprint": b"short"}, "fingerprint has 5 bytes, not 32"),
    ({"weights": "best"}, "weights='best'"),
    (
      {
        "channels": 16,
        "source_channels": 16,
        "model_quantizers": 255,
        "num_quantizers": 255,
      },
      "more than 2048",
    ),
  ):
    with pytest.raises(errors.InputError, match=match):
      dataclasses.replace(HEADER, **change)


def test_codes_that_do_not_fit_the_header_are_refused():
  for codes, match in (
    (CODES[:1], r"shape \(1, 10, 2\)"),
    (CODES[..., :1], r"shape \(2, 10, 1\)"),
    (CODES[:, :9], "source_samples=5500 do not have the 9 frames"),
    (CODES + 1, "do not fit 10 bits"),
  ):
    with pytest.raises(errors.InputError, match=match):
      writer.to_bytes(HEADER, codes)
  with pytest.raises(errors.InputError, match="are not the header's 5500"):
    writer.to_bytes(HEADER, CODES, source_samples=1)
  with pytest.raises(errors.InputError, match="source_samples=None"):
    stream = dataclasses.replace(HEADER, source_samples=None)
    writer.to_bytes(stream, CODES)
  with pytest.raises(errors.InputError, match="chunk_frames=9"):
    writer.to_bytes(HEADER, CODES, chunk_frames=9)


def test_a_file_appears_when_it_is_complete(tmp_path):
  path = tmp_path / "a.sstr"
  assert writer.write(path, HEADER, CODES) == len(FROZEN)
  assert path.read_bytes() == FROZEN
  np.testing.assert_array_equal(reader.read(path).codes, CODES)
  with pytest.raises(errors.InputError, match="shape"):
    writer.write(path, HEADER, CODES[:1])
  assert path.read_bytes() == FROZEN
  assert list(tmp_path.iterdir()) == [path]
  with pytest.raises(errors.InputError, match="cannot be written"):
    writer.write(tmp_path / "none" / "a.sstr", HEADER, CODES)
