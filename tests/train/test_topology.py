"""One algorithm on any number of devices.

In float64 rounding is so small that anything else would show: these runs differ
in the order of their sums and in nothing more.
"""

import jax
import numpy as np
import pytest

from soundstream_jax import distributed, sharding
from soundstream_jax.data import loader as loader_lib
from soundstream_jax.model import soundstream
from soundstream_jax.train import codebook_init
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

STEPS = 5
MESHES = ((1, 1), (8, 1), (4, 2))

# 16 frames per code and more; arrays large enough for fsdp to split.
OVERRIDES = {
  "batch_size": 8,
  "model.compute_dtype": "float64",
  "quantizer.kmeans_batches": 1,
}


@pytest.fixture(scope="module", autouse=True)
def _sixty_four_bits():
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope="module")
def runs(small_config, voices):
  """Five full steps from k-means on each mesh: states, metrics and codes."""
  smallest = sharding.SMALLEST_SHARDED
  sharding.SMALLEST_SHARDED = 64
  try:
    return {
      mesh: _run(
        small_config(
          **OVERRIDES,
          **{
            "data.sources": voices,
            "mesh.data": mesh[0],
            "mesh.fsdp": mesh[1],
          },
        )
      )
      for mesh in MESHES
    }
  finally:
    sharding.SMALLEST_SHARDED = smallest


def _run(config):
  mesh = distributed.make_mesh(
    config.mesh, jax.devices()[: config.mesh.data * config.mesh.fsdp]
  )
  step, (abstract, audio) = step_lib.build(config, mesh)
  net = soundstream.from_config(config)
  codes_of = jax.jit(
    lambda state, x: (
      net.apply(
        soundstream.variables(state.params, state.codebooks.vectors), x
      ).codes
    )
  )
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  with loader_lib.train_loader(config) as batches:
    feed = [
      sharding.global_batch(
        audio.sharding, config.batch_size, next(batches).astype(np.float64)
      )
      for _ in range(STEPS)
    ]
  state = codebook_init.initialise(config, mesh, state, feed[:1])
  metrics, codes, counts = [], [], []
  for batch in feed:
    codes.append(np.asarray(codes_of(state, batch)))
    state, values = step(state, batch)
    metrics.append(jax.tree.map(np.asarray, values))
    counts.append(np.asarray(state.codebooks.counts))
  return state, metrics, codes, counts


def test_everything_is_wide(runs):
  state, metrics, _, _ = runs[(1, 1)]
  for leaf in jax.tree.leaves(state):
    assert leaf.dtype in (np.float64, np.int32)
  assert metrics[0]["loss/reconstruction"].dtype == np.float64


def test_fsdp_splits_parameters_and_moments(runs):
  state, *_ = runs[(4, 2)]
  for tree in (state.params, state.opt_state, state.disc_opt_state):
    split = [
      leaf for leaf in jax.tree.leaves(tree) if not leaf.is_fully_replicated
    ]
    assert split
    for leaf in split:
      assert leaf.addressable_shards[0].data.size * 2 == leaf.size


@pytest.mark.parametrize("mesh", MESHES[1:])
def test_losses_agree_to_nine_digits(runs, mesh):
  for one, other in zip(runs[(1, 1)][1], runs[mesh][1], strict=True):
    for name, value in one.items():
      np.testing.assert_allclose(
        other[name], value, rtol=1e-9, atol=1e-12, err_msg=name
      )


@pytest.mark.parametrize("mesh", MESHES[1:])
def test_codes_and_counts_are_the_same(runs, mesh):
  _, _, codes, counts = runs[(1, 1)]
  _, _, other_codes, other_counts = runs[mesh]
  for one, other in zip(codes, other_codes, strict=True):
    np.testing.assert_array_equal(one, other)
  for one, other in zip(counts, other_counts, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_codebooks_are_the_same_bits_on_every_device(runs):
  vectors = runs[(8, 1)][0].codebooks.vectors
  first, *others = (np.asarray(s.data) for s in vectors.addressable_shards)
  assert len(others) == 7
  for other in others:
    np.testing.assert_array_equal(first, other)
