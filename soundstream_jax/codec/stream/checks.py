"""Checks of what a caller gives to streams: counts, shapes and values."""

import numpy as np

from soundstream_jax import errors


def check_counts(**counts: int) -> None:
  """Refuses counts below one.

  Raises:
    InputError: with the name of the first.
  """
  for name, value in counts.items():
    if value < 1:
      raise errors.InputError(f"{name}={value} must be at least 1.")


def check_integers(name: str, values: np.ndarray, end: int, what: str) -> None:
  """Refuses what is not from 0 up to `end`, exclusive, which is `what`.

  Raises:
    InputError: with the range found.
  """
  if values.dtype.kind not in "iu":
    raise errors.InputError(f"{name} of type {values.dtype} are no integers.")
  if values.size and not 0 <= values.min() <= values.max() < end:
    raise errors.InputError(
      f"{name} from {values.min()} to {values.max()} are not all from 0 up, "
      f"below {what} {end}."
    )


def batched(items: np.ndarray, shape: tuple) -> np.ndarray:
  """Returns [B, N, ...] of that or, of one stream, of [N, ...].

  Raises:
    InputError: items that do not fit the shape, (B, "N", ...).
  """
  if items.ndim not in (len(shape) - 1, len(shape)):
    raise errors.InputError(
      f"input of shape {items.shape} has {items.ndim} axes, not {len(shape)}, "
      f"or {len(shape) - 1} for one stream."
    )
  batch = items if items.ndim == len(shape) else items[None]
  if batch.shape[:1] + batch.shape[2:] != shape[:1] + shape[2:]:
    raise errors.InputError(
      f"input of shape {items.shape} does not fit "
      f"[{', '.join(map(str, shape))}]."
    )
  return batch
