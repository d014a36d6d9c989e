"""Laws of version 1 of the .sstr file, which is read for ever."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr import reader

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


def test_version_1_is_frozen():
  recording = reader.from_bytes(FROZEN)
  np.testing.assert_array_equal(recording.codes, CODES[None])
  np.testing.assert_array_equal(recording.layers, [[3, 3, 3]])
  assert recording.source_samples == 1_500
  assert recording.model_samples == 817
  assert recording.damages == ()
  header = recording.header
  assert (header.version, header.channels) == (1, 1)
  assert (header.source_rate_hz, header.source_channels) == (44_100, 2)
  assert (header.model_rate_hz, header.hop_samples) == (24_000, 320)
  assert (header.codebook_size, header.num_quantizers) == (1024, 3)
  assert (header.step, header.weights) == (600_000, "ema")
  assert header.fingerprint == bytes(range(32))


def test_audio_without_samples_is_a_header_alone():
  data = bytearray(FROZEN[:104])
  data[8:32] = bytes(24)
  data[96:100] = bytes(4)
  assert reader.from_bytes(resealed(data)).codes.shape == (1, 0, 3)


def test_every_truncation_is_refused_and_says_how_much_is_missing(tmp_path):
  path = tmp_path / "a.sstr"
  for size in range(5, len(FROZEN)):
    expected, found = (104, size) if size < 104 else (12, size - 104)
    match = f"truncated: expected {expected} bytes, found {found}"
    path.write_bytes(FROZEN[:size])
    for strict in (True, False):
      with pytest.raises(errors.InputError, match=match):
        reader.from_bytes(FROZEN[:size], strict=strict)
      with pytest.raises(errors.InputError, match=f"a.sstr: .*{match}"):
        reader.read(path, strict=strict)
  for size in range(5):
    with pytest.raises(errors.InputError, match="truncated"):
      reader.from_bytes(FROZEN[:size])


def test_every_change_of_one_byte_is_refused():
  for position in range(len(FROZEN)):
    for change in (0x01, 0x80, 0xFF, 0x5A):
      data = bytearray(FROZEN)
      data[position] ^= change
      with pytest.raises(errors.InputError):
        reader.from_bytes(bytes(data))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_in_one_line(data):
  for start in (b"", b"SSTR", FROZEN[:8], FROZEN[:104]):
    if start + data == FROZEN:
      continue
    with pytest.raises(errors.InputError) as refusal:
      reader.from_bytes(start + data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
  ("offset", "layout", "value", "match"),
  [
    (0, "4s", b"RIFF", "not an .sstr file"),
    (4, "B", 3, "version 3 .* is unknown; known: 1, 2"),
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
    reader.from_bytes(resealed(data))
    return
  with pytest.raises(errors.InputError, match=match):
    reader.from_bytes(resealed(data))


def test_a_header_that_claims_an_enormous_payload_allocates_nothing():
  data = bytearray(FROZEN)
  struct.pack_into("<QQQ", data, 8, 2**63, 2**63, -(-(2**63) // 320))
  struct.pack_into("<I", data, 40, 24_000)
  struct.pack_into("<H", data, 58, 65_535)
  with pytest.raises(errors.InputError, match="payload is truncated"):
    reader.from_bytes(resealed(data))


def test_trailing_bytes_are_refused():
  with pytest.raises(errors.InputError, match="1 bytes follow the payload"):
    reader.from_bytes(FROZEN + b"\0")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
  with pytest.raises(errors.InputError, match=r"none\.sstr: .*No such file"):
    reader.read(tmp_path / "none.sstr")
  with pytest.raises(errors.InputError, match="Is a directory"):
    reader.read(tmp_path)
