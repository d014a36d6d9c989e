"""Convolutions in bfloat16: what may differ from float32, and by how much."""

import jax
import numpy as np
import pytest

from soundstream_jax import distributed
from soundstream_jax.train import codebook_init
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def _built(config):
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  step, (abstract, _) = step_lib.build(config, mesh)
  return mesh, step, jax.tree.map(lambda leaf: leaf.sharding, abstract)


@pytest.fixture(scope="module")
def one_step(small_config):
  """(after, metrics) of one step from one state, by compute dtype."""
  config = small_config()
  shape = (config.batch_size, config.data.crop_samples, 1)
  audio = 0.2 * np.random.default_rng(0).normal(size=shape).astype(np.float32)
  mesh, step, shardings = _built(config)
  state = state_lib.init(config, shardings)
  state = codebook_init.initialise(config, mesh, state, [audio])
  host = jax.tree.map(np.array, state)
  _, half_step, _ = _built(small_config(**{"model.compute_dtype": "bfloat16"}))
  placed = jax.tree.map(jax.device_put, host, shardings)
  return {"float32": step(state, audio), "bfloat16": half_step(placed, audio)}


def test_everything_that_is_kept_stays_float32(one_step):
  after, metrics = one_step["bfloat16"]
  for path, leaf in jax.tree_util.tree_leaves_with_path((after, metrics)):
    assert leaf.dtype in (np.float32, np.int32), jax.tree_util.keystr(path)


def test_losses_of_one_step_agree_to_two_percent(one_step):
  _, narrow = one_step["bfloat16"]
  for name, value in one_step["float32"][1].items():
    if name.startswith("loss/"):
      np.testing.assert_allclose(
        narrow[name], value, rtol=0.02, atol=1e-3, err_msg=name
      )
