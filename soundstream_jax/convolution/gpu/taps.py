"""Convolutions of few inputs or outputs as one product of all taps.

Tensor cores take channels by eights. Where a layer has fewer, its taps stand in for
them: of few inputs, what each output sees becomes one vector; of few outputs, each
sample is multiplied by all taps, and what belongs to an output is added.
"""

import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array

# Of such vectors, which are filled up with zeros.
MULTIPLE = 8


def of_few_inputs(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """x [B, T, in] with kernel [k, in, out] -> [B, T', out]; stride 1."""
  taps, inputs, features = kernel.shape
  seen = _shifted(jnp.pad(x, ((0, 0), *spec.padding, (0, 0))), taps)
  missing = -taps * inputs % MULTIPLE
  seen = jnp.pad(
    jnp.concatenate(seen, axis=-1), ((0, 0),) * 2 + ((0, missing),)
  )
  kernel = kernel.reshape(taps * inputs, features)
  kernel = jnp.pad(kernel, ((0, missing), (0, 0)))
  return jnp.einsum("bti,io->bto", seen, kernel)


def of_few_outputs(x: Array, kernel: Array, spec: spec_lib.Spec) -> Array:
  """x [B, T, in] with kernel [k, in, out] -> [B, T', out]; stride 1."""
  taps, inputs, features = kernel.shape
  kernel = kernel.swapaxes(0, 1).reshape(inputs, taps * features)
  kernel = jnp.pad(kernel, ((0, 0), (0, -taps * features % MULTIPLE)))
  products = jnp.einsum("bti,io->bto", x, kernel)
  products = jnp.pad(products, ((0, 0), *spec.padding, (0, 0)))
  y = sum(
    precision.widened(of_all[..., tap * features : (tap + 1) * features])
    for tap, of_all in enumerate(_shifted(products, taps))
  )
  return y.astype(x.dtype)


def _shifted(x, taps):
  """What each tap meets: `taps` times [B, T - taps + 1, C]."""
  length = x.shape[1] - taps + 1
  return [x[:, tap : tap + length] for tap in range(taps)]
