"""Grouped convolutions as ones of fewer groups, whose kernels have zeros.

Groups of few channels fill no vectors, and XLA computes their gradients through
slow general code. Neighbouring groups merge into a bundle with a block-diagonal
kernel: the same sum with some terms times zero, so a NaN in the input spreads a
little further than it otherwise would.
"""

import jax
import jax.numpy as jnp


def merge(
  kernel: jax.Array,
  groups: int,
  *,
  inputs_per_bundle: int,
  most_bundles: int | None = None,
) -> tuple[jax.Array, int]:
  """Expands a grouped kernel [*k, inputs / groups, outputs] to fewer groups.

  Args:
    inputs_per_bundle: up to which groups merge.
    most_bundles: of which there are no more, however many inputs one then has.

  Returns:
    The kernel [*k, inputs / bundles, outputs], zero between the groups of a
    bundle, and the number of bundles.
  """
  *size, inputs, outputs = kernel.shape
  numbers = [n for n in range(1, groups + 1) if groups % n == 0]
  merged = max(n for n in numbers if n == 1 or n * inputs <= inputs_per_bundle)
  if most_bundles is not None:
    merged = next(
      n for n in numbers if n >= merged and groups // n <= most_bundles
    )
  if merged == 1:
    return kernel, groups
  bundles, per_group = groups // merged, outputs // groups
  one = len(size) * (1,)
  diagonal = jnp.eye(merged, dtype=kernel.dtype)
  kernel = kernel.reshape(*size, 1, inputs, bundles, merged, per_group)
  kernel = kernel * diagonal.reshape(*one, merged, 1, 1, merged, 1)
  return kernel.reshape(*size, merged * inputs, outputs), bundles
