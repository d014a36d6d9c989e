"""Grouped convolutions as one after the other of bundles of groups.

XLA computes the gradients of a grouped convolution over inputs that it stuffs with
zeros, and on several devices it gathers the whole batch for them. So neighbouring
groups merge into bundles wide enough for tensor cores (see `groups`).

A bundle's kernel is mostly zeros, whose gradients nobody needs. Left to itself XLA
would add those up over devices too, sixteen times what is learnt: so how the
gradient is split over devices is said here, and the devices add what is left of it.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from soundstream_jax.convolution import groups as groups_lib
from soundstream_jax.convolution import spec as spec_lib

Array = jax.Array
# Of ungrouped convolutions, without bias: x [B, *space, in], kernel, spec.
Convolve = Callable[[Array, Array, spec_lib.Spec], Array]

# Of merged groups. Wider bundles multiply by more zeros; narrow ones fill no
# tile, and each bundle is three kernels to start and to compile.
INPUTS_PER_BUNDLE = 64
MOST_BUNDLES = 8


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
  x: Array, kernel: Array, spec: spec_lib.Spec, of_bundle: Convolve
) -> Array:
  """x [B, *space, in] with kernel [*k, in / groups, out] -> [B, *space', out].

  Args:
    x: the input.
    kernel: of the groups.
    spec: with groups.
    of_bundle: convolves a bundle.
  """
  return _convolve(x, kernel, spec, of_bundle)


def _convolve(x, kernel, spec, of_bundle):
  kernel, bundles = groups_lib.merge(
    kernel,
    spec.groups,
    inputs_per_bundle=INPUTS_PER_BUNDLE,
    most_bundles=MOST_BUNDLES,
  )
  one = dataclasses.replace(spec, groups=1, features=spec.features // bundles)
  if bundles == 1:
    return of_bundle(x, kernel, one)
  pairs = zip(
    jnp.split(x, bundles, axis=-1),
    jnp.split(kernel, bundles, axis=-1),
    strict=True,
  )
  return jnp.concatenate([of_bundle(*pair, one) for pair in pairs], axis=-1)


def _forward(x, kernel, spec, of_bundle):
  return convolve(x, kernel, spec, of_bundle), (x, kernel)


def _backward(spec, of_bundle, saved, cotangent):
  x, kernel = saved
  (slope,) = jax.linear_transpose(
    lambda x: _convolve(x, kernel, spec, of_bundle), x
  )(cotangent)
  of_kernel = _kernel_slope(spec, of_bundle, kernel.shape)
  return slope, of_kernel(x, cotangent)


convolve.defvjp(_forward, _backward)


@functools.cache
def _kernel_slope(spec, of_bundle, shape) -> Callable[[Array, Array], Array]:
  """Returns (x, cotangent) -> the kernel's gradient, summed over devices."""

  def slope(x, cotangent):
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(
      lambda kernel: _convolve(x, kernel, spec, of_bundle), kernel
    )(cotangent)[0]

  split = custom_partitioning(slope)

  def partition(mesh, arguments, result):
    del result
    batch = arguments[0].sharding.spec[:1]
    mesh = arguments[0].sharding.mesh
    placed = tuple(NamedSharding(mesh, P(*batch)) for _ in arguments)

    def summed(x, cotangent):
      own = slope(x, cotangent)
      return lax.psum(own, batch[0]) if any(batch) else own

    return mesh, summed, NamedSharding(mesh, P()), placed

  def infer(mesh, arguments, result):
    del mesh, result
    return NamedSharding(arguments[0].sharding.mesh, P())

  before, after, taps = (
    [f"{letter}{axis}" for axis in range(spec.axes)] for letter in "stk"
  )
  # In the order of their first appearance.
  whole = (*before, "i", *after, "o", *taps, "j")
  split.def_partition(
    partition,
    infer_sharding_from_operands=infer,
    sharding_rule=f"b {' '.join(before)} i, b {' '.join(after)} o -> "
    f"{' '.join(taps)} j o",
    need_replication_factors=whole,
  )
  return split
