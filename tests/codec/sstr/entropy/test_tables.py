"""Laws of the tables that codes are coded with: integers, kept for ever."""

import hashlib
import itertools
import struct
from fractions import Fraction

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr.entropy import frequencies, table_files, tables

MODEL = bytes(range(32))

# Spelt out after the docstring's table.
SAMPLE = tables.Tables(
  frequencies=np.array([[13, 1, 1, 1], [4, 4, 4, 4]], np.uint16),
  precision=4,
  fingerprint=MODEL,
)
BODY = bytes.fromhex(
  "53535442 01 04 0200 04000000"  # magic, version, precision, Q, K
  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
  "0d00 0100 0100 0100  0400 0400 0400 0400"
)
FROZEN = BODY + bytes.fromhex("e5fb40a3")  # CRC-32C

COUNTS = st.lists(
  st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 2**62)),
  min_size=16,
  max_size=16,
)


def sealed(body):
  return bytes(body) + struct.pack("<I", google_crc32c.value(bytes(body)))


def test_a_frozen_file_keeps_its_bytes_and_its_identity():
  assert SAMPLE.to_bytes() == FROZEN
  assert SAMPLE.identity == hashlib.sha256(BODY).digest()[:16]
  read = tables.Tables.from_bytes(FROZEN)
  np.testing.assert_array_equal(read.frequencies, SAMPLE.frequencies)
  assert read.frequencies.dtype == np.uint16
  assert (read.precision, read.fingerprint) == (4, MODEL)
  assert read.identity == SAMPLE.identity


def test_frozen_counts_keep_their_frequencies():
  made = frequencies.from_counts(
    np.array([[1000, 0, 3, 96], [0, 0, 0, 0], [1, 1, 1, 0]]),
    fingerprint=MODEL,
    precision=6,
  )
  assert made.frequencies.tolist() == [
    [57, 1, 1, 5],
    [16, 16, 16, 16],
    [19, 19, 19, 7],
  ]


@given(COUNTS, st.integers(4, 16))
@settings(max_examples=200, deadline=None)
def test_frequencies_are_within_one_of_the_share_that_is_due(counts, precision):
  made = frequencies.from_counts(
    np.array([counts]), fingerprint=MODEL, precision=precision
  )
  found = [int(frequency) for frequency in made.frequencies[0]]
  assert sum(found) == 1 << precision
  # The rarest take one part each, as long as they are due less than one.
  left = 1 << precision
  rest = sorted((2 * counts[k] + 1, k) for k in range(16))
  while rest[0][0] * left < sum(count for count, _ in rest):
    assert found[rest.pop(0)[1]] == 1
    left -= 1
  total = sum(count for count, _ in rest)
  for count, k in rest:
    assert abs(found[k] - Fraction(count * left, total)) < 1
  order = sorted(range(16), key=lambda k: counts[k])
  for a, b in itertools.pairwise(order):
    assert found[a] <= found[b] + (counts[a] == counts[b])


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_frequencies_do_not_depend_on_the_type_of_the_counts(dtype):
  counts = np.random.default_rng(0).integers(0, 2**31 - 1, (2, 64))
  expected = frequencies.from_counts(counts, fingerprint=MODEL)
  found = frequencies.from_counts(counts.astype(dtype), fingerprint=MODEL)
  np.testing.assert_array_equal(found.frequencies, expected.frequencies)


@pytest.mark.parametrize(
  ("counts", "precision", "reason"),
  [
    ([[1.0, 2.0]], 16, "not integers"),
    ([1, 2], 16, "not integers"),
    ([[1, -1]], 16, "-1 is below 0"),
    ([[1, 1]], 17, "precision=17"),
    ([[1, 1, 1, 1]], 1, "precision=1 "),
    ([[1, 1, 1]], 16, "not a power of two"),
  ],
)
def test_counts_that_make_no_tables_are_refused(counts, precision, reason):
  with pytest.raises(errors.InputError, match=reason):
    frequencies.from_counts(
      np.array(counts), fingerprint=MODEL, precision=precision
    )


def test_every_changed_byte_and_every_shorter_file_is_refused():
  damaged = [FROZEN[:length] for length in range(len(FROZEN))]
  damaged += [FROZEN + b"\0"]
  damaged += [
    FROZEN[:at] + bytes([FROZEN[at] ^ bit]) + FROZEN[at + 1 :]
    for at in range(len(FROZEN))
    for bit in (1, 16, 128)
  ]
  for data in damaged:
    with pytest.raises(errors.InputError) as caught:
      tables.Tables.from_bytes(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("at", "value", "reason"),
  [
    (4, "02", "version 2"),
    (5, "01", "precision 1;"),
    (5, "11", "precision 17;"),
    (6, "0000 04000000", "0 layers and 4 codes are 48 bytes"),
    (6, "ffff ffffffff", "65535 layers"),
    (8, "05000000", "5 codes"),
    (44, "0e00", "layer 0 add up to 17"),
    (44, "0e00 0000", "the least is 0"),
  ],
)
def test_a_file_with_a_right_checksum_is_still_checked(at, value, reason):
  body, value = bytearray(BODY), bytes.fromhex(value)
  body[at : at + len(value)] = value
  with pytest.raises(errors.InputError, match=reason):
    tables.Tables.from_bytes(sealed(body))


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_in_one_line(data):
  for hostile in (data, sealed(b"SSTB\1" + data)):
    with pytest.raises(errors.InputError) as caught:
      tables.Tables.from_bytes(hostile)
    assert "\n" not in str(caught.value)


def other_tables(*counts, fingerprint=MODEL):
  return frequencies.from_counts(np.array([counts]), fingerprint=fingerprint)


def test_older_tables_are_found_when_newer_ones_are_measured(tmp_path):
  older, newer = other_tables(1, 2), other_tables(1, 3)
  for made in (older, newer):
    path = table_files.write(tmp_path, made)
    assert path.parent.parent == tmp_path
    assert path.read_bytes() == made.to_bytes()
  for made in (older, newer):
    read = table_files.read(tmp_path, made.identity)
    np.testing.assert_array_equal(read.frequencies, made.frequencies)


def test_the_newest_tables_of_the_model_are_coded_with(tmp_path):
  stranger = other_tables(1, 9, fingerprint=bytes(32))
  for made in (other_tables(1, 2), other_tables(1, 3), stranger):
    table_files.write(tmp_path, made)
  found = table_files.for_model(tmp_path, MODEL)
  assert found.identity == other_tables(1, 3).identity


def test_missing_and_damaged_tables_are_named(tmp_path):
  with pytest.raises(errors.InputError, match="no tables for the model 000102"):
    table_files.for_model(tmp_path, MODEL)
  with pytest.raises(errors.InputError, match="Present: none"):
    table_files.read(tmp_path, SAMPLE.identity)
  path = table_files.write(tmp_path, SAMPLE)
  path.with_name("00" * 16 + ".tables").write_bytes(FROZEN)
  with pytest.raises(errors.InputError, match="holds the tables"):
    table_files.read(tmp_path, bytes(16))
  path.write_bytes(FROZEN[:-1])
  with pytest.raises(errors.InputError, match=f"{path}: "):
    table_files.read(tmp_path, SAMPLE.identity)
  with pytest.raises(errors.InputError, match="cannot be written"):
    table_files.write(tmp_path / "missing", SAMPLE)
