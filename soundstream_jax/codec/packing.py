"""Codes in whole bits: the payload of an .sstr file, without gaps."""

import numpy as np

from soundstream_jax import errors, rates

MAX_CODE_BITS = 16


def pack(codes: np.ndarray, bits: int) -> bytes:
  """Packs codes in order, `bits` bits each, most significant bit first.

  Args:
    codes: integers of any shape, each in [0, 2**bits); read in C order.
    bits: 1 to 16.

  Returns:
    ceil(codes.size * bits / 8) bytes; the last is filled with 0 bits.

  Raises:
    InputError: a width or a code out of range, or codes that are no integers.
  """
  _check_bits(bits)
  codes = np.asarray(codes)
  if not np.issubdtype(codes.dtype, np.integer):
    raise errors.InputError(f"codes of type {codes.dtype} are no integers.")
  if not codes.size:
    return b""
  low, high = int(codes.min()), int(codes.max())
  if low < 0 or high >= 1 << bits:
    raise errors.InputError(
      f"codes from {low} to {high} do not fit {bits} bits, 0 to "
      f"{(1 << bits) - 1}."
    )
  # Eight codes fill `bits` whole bytes, so every block of eight is the same
  # few shifts, each done for all blocks at once.
  blocks = -(-codes.size // 8)
  padded = np.zeros((blocks * 8,), np.uint32)
  padded[: codes.size] = codes.reshape(-1)
  columns = np.ascontiguousarray(padded.reshape(blocks, 8).T)
  packed = np.zeros((bits, blocks), np.uint8)
  for code, byte, shift in _overlaps(bits):
    packed[byte] |= _shift_right(columns[code], shift).astype(np.uint8)
  size = -(-codes.size * bits // 8)
  return packed.T.tobytes()[:size]


def unpack(data: bytes, frames: int, n_q: int, bits: int) -> np.ndarray:
  """Inverse of `pack`: returns int32 codes [frames, n_q].

  Raises:
    InputError: a width out of range, a wrong number of bytes, or filling bits
      that are not 0.
  """
  _check_bits(bits)
  count = frames * n_q
  size = rates.payload_bytes(frames, n_q, bits)
  if frames < 0 or n_q < 0 or len(data) != size:
    raise errors.InputError(
      f"{frames} frames of {n_q} codes of {bits} bits are {size} bytes, not "
      f"{len(data)}."
    )
  if not count:
    return np.zeros((frames, n_q), np.int32)
  filling = 8 * size - count * bits
  if data[-1] & ((1 << filling) - 1):
    raise errors.InputError(
      f"the last {filling} bits of the payload fill its last byte and must be "
      "0."
    )
  blocks = -(-count // 8)
  padded = np.zeros((blocks * bits,), np.uint8)
  padded[:size] = np.frombuffer(data, np.uint8)
  columns = np.ascontiguousarray(padded.reshape(blocks, bits).T)
  codes = np.zeros((8, blocks), np.int32)
  for code, byte, shift in _overlaps(bits):
    codes[code] |= _shift_right(columns[byte].astype(np.int32), -shift)
  codes &= (1 << bits) - 1
  return codes.T.reshape(-1)[:count].reshape(frames, n_q)


def _overlaps(bits: int) -> list[tuple[int, int, int]]:
  """(code, byte, shift) for each code and byte of a block that share bits.

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
