"""Bundles of groups on several devices: one function, and few bytes between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from soundstream_jax import config as config_lib
from soundstream_jax.convolution import plain, signal
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.convolution.gpu import method
from soundstream_jax.devices import distributed
from soundstream_jax.launch.preflight import program_cost

SPEC = spec_lib.Spec(256, (9,), (4,), ((4, 4),), groups=32)
INPUTS = 128


def gradients(by, *, rounds=1):
  """Returns (x, kernel) -> values and gradients, summed over rounds."""

  def convolve(x, kernel):
    entered = signal.enter(x, by, channels=INPUTS, granule=1)
    bias = jnp.zeros((SPEC.features,))
    y = entered.convolved(SPEC, lambda: (kernel, bias), None, dtype=x.dtype)
    return y.leave()

  def one(x, kernel):
    y, pull = jax.vjp(convolve, x, kernel)
    return (y, *pull(jnp.sin(y)))

  def several(x, kernel):
    """As microbatches: every device has a share of each."""
    pieces = jnp.moveaxis(x.reshape(-1, rounds, *x.shape[1:]), 1, 0)

    def add(total, piece):
      y, dx, slope = one(piece, kernel)
      return total + slope, (y, dx)

    slope, rest = lax.scan(add, jnp.zeros_like(kernel), pieces)
    y, dx = (jnp.moveaxis(a, 0, 1).reshape(-1, *a.shape[2:]) for a in rest)
    return y, dx, slope

  return one if rounds == 1 else several


def normal(*shape, seed):
  rng = np.random.default_rng(seed)
  return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("fsdp", [1, 2])
@pytest.mark.parametrize("rounds", [1, 2])
def test_devices_add_up_what_is_learnt_and_no_zeros(rounds, fsdp):
  mesh = distributed.make_mesh(config_lib.Mesh(fsdp=fsdp), jax.devices())
  split = NamedSharding(mesh, P(("data", "fsdp")))
  whole = NamedSharding(mesh, P())
  x = normal(16, 40, INPUTS, seed=0)
  kernel = normal(9, INPUTS // 32, 256, seed=1)
  function = jax.jit(
    gradients(method.Gpu(), rounds=rounds),
    in_shardings=(split, whole),
    out_shardings=(split, split, whole),
  )
  text = function.lower(x, kernel).compile().as_text()
  moved = program_cost.of(text).collective_bytes()
  assert moved == {"all-reduce": rounds * kernel.nbytes}
  expected = jax.jit(gradients(plain.Plain()))(x, kernel)
  for a, e in zip(function(x, kernel), expected, strict=True):
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max())
