"""Turns counts of codes into frequencies, in integers alone.

The same counts give the same tables on every machine.
"""

import numpy as np

from soundstream_jax import errors
from soundstream_jax.codec.sstr.entropy import tables as tables_lib


def from_counts(
  counts: np.ndarray,
  *,
  fingerprint: bytes,
  precision: int = tables_lib.MAX_PRECISION,
) -> tables_lib.Tables:
  """Makes tables of the counts [Q, K] of codes.

  A code that was never seen counts half (Krichevsky and Trofimov's estimate):
  every code can be coded, and few counts are not trusted too far.

  Args:
    counts: integers, how often each code occurred in each layer.
    fingerprint: of the model that made the codes, 32 bytes.
    precision: log2 of what the frequencies of a layer add up to.

  Raises:
    InputError: counts or a precision out of range.
  """
  counts = np.asarray(counts)
  if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer):
    raise errors.InputError(
      f"counts of type {counts.dtype} and shape {counts.shape} are not "
      "integers [Q, K]."
    )
  if counts.size and counts.min() < 0:
    raise errors.InputError(f"a count of {counts.min()} is below 0.")
  most = tables_lib.MAX_PRECISION
  if not 0 <= precision <= most or counts.shape[1] > 1 << precision:
    raise errors.InputError(
      f"precision={precision} must be at most {most} and give each of "
      f"{counts.shape[1]} codes a part of 2**precision."
    )
  seats = [
    apportion([2 * int(count) + 1 for count in layer], 1 << precision)
    for layer in counts
  ]
  return tables_lib.Tables(
    frequencies=np.array(seats, np.uint16).reshape(counts.shape),
    precision=precision,
    fingerprint=fingerprint,
  )


def apportion(counts: list[int], seats: int) -> list[int]:
  """Divides seats in proportion to counts; everyone gets at least one.

  Who is due less than one seat gets one and is out; the others share the rest
  by largest remainders, the first of equal ones first.

  Args:
    counts: positive.
    seats: at least as many as there are counts.
  """
  rest = list(range(len(counts)))
  while True:
    left = seats - (len(counts) - len(rest))
    total = sum(counts[k] for k in rest)
    due = [k for k in rest if counts[k] * left >= total]
    if len(due) == len(rest):
      break
    rest = due
  result = [1] * len(counts)
  for k in rest:
    result[k] = counts[k] * left // total
  unmet = seats - sum(result)
  by_remainder = sorted(rest, key=lambda k: -(counts[k] * left % total))
  for k in by_remainder[:unmet]:
    result[k] += 1
  return result
