"""Packs planes of codes into bytes and back, in whole bits without gaps."""

import numpy as np

from soundstream_jax import errors

MAX_CODE_BITS = 16


def plane_bytes(count: int, bits: int) -> int:
  """Bytes of a plane: `count` codes without gaps, filled to a whole byte."""
  return -(-count * bits // 8)


def filling_mask(count: int, bits: int) -> int:
  """The bits of a plane's last byte that hold no code and must be 0."""
  return (1 << (8 * plane_bytes(count, bits) - count * bits)) - 1


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
  """Packs planes of codes, `bits` bits each, most significant bit first.

  Args:
    codes: integers [P, N], each in [0, 2**bits).
    bits: 1 to 16.

  Returns:
    uint8 [P, ceil(N * bits / 8)]; each plane's last byte ends with 0 bits.

  Raises:
    InputError: a width or a code out of range, or codes that are no integers.
  """
  _check_bits(bits)
  codes = np.asarray(codes)
  if not np.issubdtype(codes.dtype, np.integer):
    raise errors.InputError(f"codes of type {codes.dtype} are no integers.")
  planes, count = codes.shape
  size = plane_bytes(count, bits)
  if not codes.size:
    return np.zeros((planes, size), np.uint8)
  low, high = int(codes.min()), int(codes.max())
  if low < 0 or high >= 1 << bits:
    raise errors.InputError(
      f"codes from {low} to {high} do not fit {bits} bits, 0 to "
      f"{(1 << bits) - 1}."
    )
  # Eight codes fill `bits` whole bytes, so every group of eight is the same
  # few shifts, each done for all groups of all planes at once.
  groups = -(-count // 8)
  padded = np.zeros((planes, groups * 8), np.uint32)
  padded[:, :count] = codes
  columns = np.ascontiguousarray(padded.reshape(-1, 8).T)
  packed = np.zeros((bits, planes * groups), np.uint8)
  for code, byte, shift in _overlaps(bits):
    packed[byte] |= _shift_right(columns[code], shift).astype(np.uint8)
  packed = np.ascontiguousarray(packed.T)
  return packed.reshape(planes, groups * bits)[:, :size]


def unpack(packed: np.ndarray, count: int, bits: int) -> np.ndarray:
  """Inverse of `pack`.

  Args:
    packed: uint8 [P, ceil(count * bits / 8)].
    count: codes of a plane.
    bits: 1 to 16.

  Returns:
    int32 codes [P, count].

  Raises:
    InputError: a width out of range, a wrong number of bytes, or filling bits
      that are not 0.
  """
  _check_bits(bits)
  planes, found = packed.shape
  size = plane_bytes(count, bits)
  if count < 0 or found != size:
    raise errors.InputError(
      f"{count} codes of {bits} bits are {size} bytes, not {found}."
    )
  if not packed.size:
    return np.zeros((planes, count), np.int32)
  if (packed[:, -1] & filling_mask(count, bits)).any():
    raise errors.InputError(
      f"the last {8 * size - count * bits} bits after {count} codes of {bits} "
      "bits fill a byte and must be 0."
    )
  groups = -(-count // 8)
  padded = np.zeros((planes, groups * bits), np.uint8)
  padded[:, :size] = packed
  columns = np.ascontiguousarray(padded.reshape(-1, bits).T)
  codes = np.zeros((8, planes * groups), np.int32)
  for code, byte, shift in _overlaps(bits):
    codes[code] |= _shift_right(columns[byte].astype(np.int32), -shift)
  codes &= (1 << bits) - 1
  codes = np.ascontiguousarray(codes.T)
  return codes.reshape(planes, groups * 8)[:, :count]


def _overlaps(bits: int) -> list[tuple[int, int, int]]:
  """(code, byte, shift) for each code and byte of a group that share bits.

  `code >> shift` puts the code's bits at their place in the byte; a negative
  shift is to the left.
  """
  return [
    (code, byte, (code + 1) * bits - 8 * (byte + 1))
    for code in range(8)
    for byte in range(code * bits // 8, ((code + 1) * bits - 1) // 8 + 1)
  ]


def _shift_right(values: np.ndarray, shift: int) -> np.ndarray:
  return values >> shift if shift >= 0 else values << -shift


def _check_bits(bits: int) -> None:
  if not 1 <= bits <= MAX_CODE_BITS:
    raise errors.InputError(
      f"bits={bits} per code is not between 1 and {MAX_CODE_BITS}."
    )
