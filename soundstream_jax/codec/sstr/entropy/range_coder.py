"""A range coder in whole numbers, for many planes of codes at once.

Our own, as no library fits: constriction takes probabilities as floats only,
which another machine may round to other integers, and writes whole 32-bit
words, of which eight codes of 10 bits would need one for nothing. A range coder
rather than ANS, as it can end on any byte: a plane takes at most one byte more
than its information.

The bytes of a plane are one number v in [0, 1), b0/256 + b1/256**2 + ...; bytes
that are not there are 0. An interval [low, low + width) is [0, 1) at first and
narrows with every code; v is in the last one. With 1 as 2**48 to begin with:

    for a code of frequency f, with the frequencies before it adding up to c,
    of 2**p in all:  unit = width >> p;  low += unit * c;  width = unit * f
    while width < 2**32:  low and width are multiplied by 2**16

Then v, in the scale that low has at the end, is a multiple of the coarsest of
2**48, 2**40 and 2**32 that has one in the interval, the lowest of them there;
bytes of 0 at its end are left out.

Only the 48 bits of low from which codes still subtract are kept, and one for
the carry: 64 bits hold every product. width >= 2**32 before a code, so that
unit >= 2**16 and a code loses less than 2**-15 of a bit to rounding.
"""

import numpy as np

from soundstream_jax.codec.sstr.entropy import tables as tables_lib

_ONE = np.uint64(1 << 48)
_LEAST = np.uint64(1 << 32)
_WORD = np.uint64(16)


def encode(
  planes: np.ndarray, layers: np.ndarray, tables: tables_lib.Tables
) -> tuple[np.ndarray, np.ndarray]:
  """Codes planes, each on its own.

  Args:
    planes: integers [P, F], each below the tables' codebook size.
    layers: int64 [P], the layer whose table a plane is coded with.

  Returns:
    The bytes, uint8 [P, 2 * F + 2], and how many of each plane are used, [P].
  """
  count, frames = planes.shape
  starts, widths = tables.starts.reshape(-1), tables.widths.reshape(-1)
  # A sum is a new array, whatever planes are: what is given stays as it is.
  indices = np.ascontiguousarray(planes.T, dtype=np.int64) + (
    layers * tables.codebook_size
  )
  low = np.zeros((count,), np.uint64)
  width = np.full((count,), _ONE)
  # 16 bits of each plane per line, to which carries are still to be added.
  words = np.zeros((frames + 1, count), np.uint32)
  flat, place = words.reshape(-1), np.arange(count)
  for index in indices:
    unit = width >> np.uint64(tables.precision)
    low += unit * starts[index]
    width = unit * widths[index]
    narrow = np.flatnonzero(width < _LEAST)
    moved = low[narrow]
    flat[place[narrow]] = moved >> np.uint64(32)
    place[narrow] += count
    low[narrow] = (moved & (_LEAST - np.uint64(1))) << _WORD
    width[narrow] <<= _WORD
  flat[place] = _shortest(low, width) >> np.uint64(32)
  for i in range(frames, 0, -1):
    words[i - 1] += words[i] >> np.uint32(16)
  data = np.ascontiguousarray(words.T.astype(">u2")).view(np.uint8)
  used = data.shape[1] - np.argmax(data[:, ::-1] != 0, axis=1)
  return data, np.where(data.any(axis=1), used, 0)


def decode(
  data: np.ndarray,
  used: np.ndarray,
  layers: np.ndarray,
  tables: tables_lib.Tables,
) -> tuple[np.ndarray, np.ndarray]:
  """Inverse of `encode`.

  Args:
    data: uint8 [P, 2 * F + 6], of each plane `used` bytes and then zeros.
    used: int64 [P].
    layers: int64 [P].

  Returns:
    int32 codes [P, F], and which planes are not what any codes are coded to, [P].
  """
  count, frames = len(data), data.shape[1] // 2 - 3
  starts, widths = tables.starts.reshape(-1), tables.widths.reshape(-1)
  symbols = tables.symbols.reshape(-1)
  slots = 1 << tables.precision
  words = np.ascontiguousarray(data.view(">u2").T, dtype=np.uint16).reshape(-1)
  first = words[: 3 * count].reshape(3, count).astype(np.uint64)
  above = (
    (first[0] << np.uint64(32)) | (first[1] << _WORD) | first[2]
  )  # v - low
  width = np.full((count,), _ONE)
  place = np.arange(count) + 3 * count
  bad = np.zeros((count,), bool)
  codes = np.empty((frames, count), np.int32)
  for i in range(frames):
    unit = width >> np.uint64(tables.precision)
    slot = above // unit
    bad |= slot >= slots
    # A damaged plane continues with some code; none of its values can do harm.
    slot = np.minimum(slot, np.uint64(slots - 1)).astype(np.int64)
    codes[i] = symbols[layers * slots + slot]
    index = layers * tables.codebook_size + codes[i]
    above -= unit * starts[index]
    width = unit * widths[index]
    narrow = np.flatnonzero(width < _LEAST)
    taken = place[narrow]
    above[narrow] = (above[narrow] << _WORD) | words[taken]
    place[narrow] = taken + count
    width[narrow] <<= _WORD
  final = data[np.arange(count), np.maximum(used - 1, 0)]
  moved = 2 * (place // count - 3)
  bad |= ~_is_shortest(above, width, final, used, used - moved)
  return codes.T, bad


def _shortest(low: np.ndarray, width: np.ndarray) -> np.ndarray:
  """Returns the number in [low, low + width) that takes the fewest bytes."""
  chosen = low
  for bits in (32, 40, 48):
    rest = np.uint64((1 << bits) - 1)
    rounded = (low + rest) & ~rest
    chosen = np.where(rounded - low < width, rounded, chosen)
  return chosen


def _is_shortest(
  above: np.ndarray,
  width: np.ndarray,
  final: np.ndarray,
  used: np.ndarray,
  kept: np.ndarray,
) -> np.ndarray:
  """Says whether v is what `_shortest` chooses.

  Args:
    above: v - low.
    width: of the last interval, with v in it.
    final: the last of the bytes used.
    used: how many bytes there are.
    kept: how many of them are below 2**48 in the scale of `width`.
  """
  step = _ONE >> np.clip(8 * kept, 0, 16).astype(np.uint64)
  # The next number that takes a byte less.
  coarser = above + (np.uint64(256) - final) * step
  lowest = (above < step) & (coarser >= width)
  return ((final > 0) | (used == 0)) & ((kept <= 0) | lowest) & (kept <= 2)
