"""Schedules of weights: factors from 0 to 1, of the number of finished steps.

Functions of nothing else: a resumed run, or one that was rolled back, has the
weights that it would have had. Ours; the paper's weights stay as they are.
"""

import jax
import jax.numpy as jnp


def rise(
  step: jax.Array, *, start: int, steps: int, dtype: jax.typing.DTypeLike
) -> jax.Array:
  """From 1 / steps in the first step after `start` to 1, `steps` after it.

  Args:
    step: int32, finished steps.
    start: finished steps at which the rise begins; before, it is 0.
    steps: above 0.
    dtype: of the result.
  """
  return _share(step + 1 - start, steps, dtype)


def fall(
  step: jax.Array, *, first: int, last: int, dtype: jax.typing.DTypeLike
) -> jax.Array:
  """1 up to the step `first`, 0 from the step `last` on, a line between.

  Args:
    step: int32, finished steps.
    first: number of a step, counted from 1.
    last: of a later one.
    dtype: of the result.
  """
  return 1.0 - _share(step + 1 - first, last - first, dtype)


def _share(part: jax.Array, whole: int, dtype) -> jax.Array:
  # Cut as integers: float32 has no room for all steps.
  return jnp.clip(part, 0, whole).astype(dtype) / whole
