"""Laws of the .sstr file."""

import dataclasses
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors, rates
from soundstream_jax.codec import bitstream, packing

HEADER = bitstream.Header(
  source_rate_hz=44_100,
  source_samples=1_500,
  source_channels=2,
  model_rate_hz=24_000,
  model_samples=817,
  hop_samples=320,
  codebook_size=1024,
  num_quantizers=3,
  frames=3,
  fingerprint=bytes(range(32)),
  step=600_000,
  weights="ema",
)
CODES = np.array([[0, 1, 1023], [512, 341, 682], [7, 100, 1000]], np.int32)

# Spelt out after the docstring's table, so that no later change of the
# code can move a byte of version 1 unnoticed.
FROZEN = bytes.fromhex(
  "53535452 01 00 6800"  # magic, version, flags, header length
  "dc05000000000000"  # source samples 1500
  "3103000000000000"  # model samples 817
  "0300000000000000"  # frames
  "c027090000000000"  # step 600000
  "44ac0000 c05d0000 40010000 00040000"  # rates, hop, K
  "0200 0300 01 000000"  # channels, layers, ema, reserved
  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
  "54f3a3e0"  # CRC-32 of the payload
  "b1327d50"  # CRC-32 of the header
  # 0000000000 0000000001 1111111111 1000000000 0101010101 1010101010
  # 0000000111 0001100100 1111101000 000000
  "00001ffe00556aa01c64fa00"
)


def resealed(data: bytearray) -> bytes:
  """Gives a tampered header a valid checksum again."""
  data[100:104] = struct.pack("<I", zlib.crc32(bytes(data[:100])))
  return bytes(data)


@given(st.data(), st.integers(1, 16), st.integers(0, 70), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_unpack_inverts_pack_for_every_width_and_odd_length(
  data, bits, frames, n_q
):
  seed = data.draw(st.integers(0, 2**32 - 1))
  random = np.random.default_rng(seed)
  codes = random.integers(0, 1 << bits, (frames, n_q), dtype=np.int32)
  packed = packing.pack(codes, bits)
  assert len(packed) == rates.payload_bytes(frames, n_q, bits)
  unpacked = packing.unpack(packed, frames, n_q, bits)
  assert unpacked.dtype == np.int32
  np.testing.assert_array_equal(unpacked, codes)


@pytest.mark.parametrize("bits", range(1, 17))
def test_pack_equals_the_bits_of_the_codes_in_order(bits):
  codes = np.random.default_rng(bits).integers(0, 1 << bits, (13, 5))
  text = "".join(f"{code:0{bits}b}" for code in codes.reshape(-1))
  text += "0" * (-len(text) % 8)
  expected = int(text, 2).to_bytes(len(text) // 8, "big")
  assert packing.pack(codes, bits) == expected


def test_packing_does_50_megabytes_a_second_both_ways():
  codes = np.random.default_rng(0).integers(0, 1024, (100_000, 24))
  codes = codes.astype(np.int32)

  def best(function, *args):
    seconds = []
    for _ in range(5):
      start = time.process_time()
      result = function(*args)
      seconds.append(time.process_time() - start)
    return min(seconds), result

  pack_s, packed = best(packing.pack, codes, 10)
  unpack_s, _ = best(packing.unpack, packed, 100_000, 24, 10)
  assert codes.nbytes / pack_s > 50e6
  assert codes.nbytes / unpack_s > 50e6


@pytest.mark.parametrize(
  ("codes", "bits", "match"),
  [
    (np.array([1024]), 10, "do not fit 10 bits"),
    (np.array([-1]), 10, "do not fit 10 bits"),
    (np.array([1.0]), 10, "no integers"),
    (np.array([1]), 0, "between 1 and 16"),
    (np.array([1]), 17, "between 1 and 16"),
  ],
)
def test_pack_refuses_what_would_not_come_back(codes, bits, match):
  with pytest.raises(errors.InputError, match=match):
    packing.pack(codes, bits)


def test_unpack_refuses_wrong_sizes_and_filling_bits():
  with pytest.raises(errors.InputError, match="are 4 bytes, not 3"):
    packing.unpack(bytes(3), 3, 1, 10)
  with pytest.raises(errors.InputError, match="must be 0"):
    packing.unpack(b"\x00\x00\x00\x01", 3, 1, 10)


def test_version_1_is_frozen():
  assert bitstream.to_bytes(HEADER, CODES) == FROZEN
  recording = bitstream.from_bytes(FROZEN)
  np.testing.assert_array_equal(recording.codes, CODES)
  crc = zlib.crc32(FROZEN[104:])
  assert recording.header == dataclasses.replace(HEADER, payload_crc32=crc)


def test_file_size_is_header_plus_payload_for_every_layer_count(tmp_path):
  path = tmp_path / "a.sstr"
  for n_q in range(1, 25):
    header = dataclasses.replace(HEADER, num_quantizers=n_q)
    written = bitstream.write(path, header, np.zeros((3, n_q), np.int32))
    assert path.stat().st_size == written == header.file_bytes
    assert written == 104 + -(-3 * n_q * 10 // 8)
    assert header.bitrate_bps == 75 * n_q * 10
    assert header.file_bitrate_bps == 8 * written / header.duration_s


def test_write_then_read_returns_header_and_codes(tmp_path):
  path = tmp_path / "a.sstr"
  bitstream.write(path, HEADER, CODES)
  recording = bitstream.read(path)
  np.testing.assert_array_equal(recording.codes, CODES)
  assert dataclasses.replace(recording.header, payload_crc32=0) == HEADER


def test_audio_without_samples_is_a_header_alone():
  header = dataclasses.replace(
    HEADER, source_samples=0, model_samples=0, frames=0
  )
  data = bitstream.to_bytes(header, np.zeros((0, 3), np.int32))
  assert len(data) == bitstream.HEADER_BYTES
  recording = bitstream.from_bytes(data)
  assert recording.codes.shape == (0, 3)
  assert recording.header.file_bitrate_bps is None


@pytest.mark.parametrize("from_disk", [False, True])
def test_every_truncation_is_refused_and_says_how_much_is_missing(
  from_disk, tmp_path
):
  path = tmp_path / "a.sstr"
  for size in range(len(FROZEN)):
    expected, found = (104, size) if size < 104 else (12, size - 104)
    match = f"truncated: expected {expected} bytes, found {found}"
    with pytest.raises(errors.InputError, match=match):
      if from_disk:
        path.write_bytes(FROZEN[:size])
        bitstream.read(path)
      else:
        bitstream.from_bytes(FROZEN[:size])


def test_every_change_of_one_byte_is_refused():
  for position in range(len(FROZEN)):
    for change in (0x01, 0x80, 0xFF, 0x5A):
      data = bytearray(FROZEN)
      data[position] ^= change
      with pytest.raises(errors.InputError):
        bitstream.from_bytes(bytes(data))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_in_one_line(data):
  for start in (b"", b"SSTR", FROZEN[:8], FROZEN[:104]):
    if start + data == FROZEN:
      continue
    with pytest.raises(errors.InputError) as refusal:
      bitstream.from_bytes(start + data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
  ("offset", "layout", "value", "match"),
  [
    (0, "4s", b"RIFF", "not an .sstr file"),
    (4, "B", 2, "version 2 .* is unknown; known: 1"),
    (5, "B", 1, "flags=1"),
    (6, "H", 96, "header length=96"),
    (8, "Q", 1_502, "model_samples=817 is not the 818"),
    (16, "Q", 818, "model_samples=818 is not the 817"),
    (24, "Q", 4, "frames=4 is not the 3"),
    (24, "Q", 2**63, "frames="),
    (32, "q", -1, "step=-1"),
    (40, "I", 0, "source_rate_hz=0"),
    (44, "I", 0, "model_rate_hz=0"),
    (48, "I", 0, "hop_samples=0"),
    (48, "I", 319, None),  # consistent by chance, and legal
    (52, "I", 1000, "codebook_size=1000 is not a power of two"),
    (52, "I", 0, "codebook_size=0"),
    (52, "I", 1 << 17, "codebook_size=131072"),
    (56, "H", 0, "source_channels=0"),
    (58, "H", 0, "num_quantizers=0"),
    (58, "H", 65_535, "payload is truncated: expected 245757 bytes, found 12"),
    (58, "H", 2, "4 bytes follow the payload"),
    (60, "B", 2, "weights=2"),
    (61, "3s", b"\0\0\1", "reserved bytes=000001"),
    (96, "I", 0, "payload is damaged"),
  ],
)
def test_a_sealed_header_with_a_bad_field_is_refused_by_name(
  offset, layout, value, match
):
  data = bytearray(FROZEN)
  struct.pack_into("<" + layout, data, offset, value)
  if match is None:
    bitstream.from_bytes(resealed(data))
    return
  with pytest.raises(errors.InputError, match=match):
    bitstream.from_bytes(resealed(data))


def test_a_header_that_claims_an_enormous_payload_allocates_nothing():
  header = dataclasses.replace(
    HEADER,
    source_rate_hz=24_000,
    source_samples=2**63,
    model_samples=2**63,
    frames=-(-(2**63) // 320),
    num_quantizers=65_535,
  )
  with pytest.raises(errors.InputError, match="payload is truncated"):
    bitstream.from_bytes(header.to_bytes())


def test_trailing_bytes_are_refused(tmp_path):
  with pytest.raises(errors.InputError, match="1 bytes follow the payload"):
    bitstream.from_bytes(FROZEN + b"\0")
  path = tmp_path / "a.sstr"
  path.write_bytes(FROZEN + b"abc")
  with pytest.raises(errors.InputError, match=r"a\.sstr: 3 bytes follow"):
    bitstream.read(path)


def test_codes_that_do_not_fit_the_header_are_refused():
  with pytest.raises(errors.InputError, match=r"shape \(2, 3\)"):
    bitstream.to_bytes(HEADER, CODES[:2])


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
  with pytest.raises(errors.InputError, match=r"none\.sstr: .*No such file"):
    bitstream.read(tmp_path / "none.sstr")
  with pytest.raises(errors.InputError, match="Is a directory"):
    bitstream.read(tmp_path)
