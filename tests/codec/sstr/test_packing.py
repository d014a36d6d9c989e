"""Laws of codes in whole bits."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstream_jax import errors
from soundstream_jax.codec.sstr import packing


@given(
  seed=st.integers(0, 2**32 - 1),
  bits=st.integers(1, 16),
  count=st.integers(0, 70),
  planes=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_unpack_inverts_pack_for_every_width_and_odd_length(
  seed, bits, count, planes
):
  random = np.random.default_rng(seed)
  codes = random.integers(0, 1 << bits, (planes, count), dtype=np.int32)
  packed = packing.pack(codes, bits)
  assert packed.shape == (planes, -(-count * bits // 8))
  assert packed.dtype == np.uint8
  unpacked = packing.unpack(packed, count, bits)
  assert unpacked.dtype == np.int32
  np.testing.assert_array_equal(unpacked, codes)


@pytest.mark.parametrize("bits", range(1, 17))
def test_pack_equals_the_bits_of_the_codes_in_order(bits):
  codes = np.random.default_rng(bits).integers(0, 1 << bits, (5, 13))
  for plane, packed in zip(codes, packing.pack(codes, bits), strict=True):
    text = "".join(f"{code:0{bits}b}" for code in plane)
    text += "0" * (-len(text) % 8)
    expected = int(text, 2).to_bytes(len(text) // 8, "big")
    assert packed.tobytes() == expected


def test_packing_does_50_megabytes_a_second_both_ways():
  codes = np.random.default_rng(0).integers(0, 1024, (9_600, 256))
  codes = codes.astype(np.int32)

  def best(function, *args):
    seconds = []
    for _ in range(5):
      start = time.process_time()
      result = function(*args)
      seconds.append(time.process_time() - start)
    return min(seconds), result

  pack_s, packed = best(packing.pack, codes, 10)
  unpack_s, _ = best(packing.unpack, packed, 256, 10)
  # Of packed bytes, the stricter count: a code has four bytes before.
  assert packed.nbytes / pack_s > 50e6
  assert packed.nbytes / unpack_s > 50e6


@pytest.mark.parametrize(
  ("codes", "bits", "match"),
  [
    (np.array([[1024]]), 10, "do not fit 10 bits"),
    (np.array([[-1]]), 10, "do not fit 10 bits"),
    (np.array([[1.0]]), 10, "no integers"),
    (np.array([[1]]), 0, "between 1 and 16"),
    (np.array([[1]]), 17, "between 1 and 16"),
  ],
)
def test_pack_refuses_what_would_not_come_back(codes, bits, match):
  with pytest.raises(errors.InputError, match=match):
    packing.pack(codes, bits)


def test_unpack_refuses_wrong_sizes_and_filling_bits():
  with pytest.raises(errors.InputError, match="are 4 bytes, not 3"):
    packing.unpack(np.zeros((1, 3), np.uint8), 3, 10)
  with pytest.raises(errors.InputError, match="must be 0"):
    packing.unpack(np.array([[0, 0, 0, 1]], np.uint8), 3, 10)
