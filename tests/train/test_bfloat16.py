"""Convolutions in bfloat16: what may differ from float32, and by how much."""

import json
import os
import subprocess
import sys

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


def _gradient(opt_state):
  """One vector, from Adam's first moments after its first step."""
  leaves = jax.tree.leaves(opt_state[0][0].mu)
  return np.concatenate([np.ravel(leaf) for leaf in leaves]).astype(np.float64)


@pytest.fixture(scope="module")
def one_step(small_config):
  """(after, metrics) of one step from one state, by compute dtype."""
  overrides = {"optimizer.clip_norm": 0.0}
  config = small_config(**overrides)
  shape = (config.batch_size, config.data.crop_samples, 1)
  audio = 0.2 * np.random.default_rng(0).normal(size=shape).astype(np.float32)
  mesh, step, shardings = _built(config)
  state = state_lib.init(config, shardings)
  state = codebook_init.initialise(config, mesh, state, [audio])
  host = jax.tree.map(np.array, state)
  _, half_step, _ = _built(
    small_config(**overrides, **{"model.compute_dtype": "bfloat16"})
  )
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


@pytest.mark.parametrize("network", ["opt_state", "disc_opt_state"])
def test_gradients_of_one_step_point_the_same_way(one_step, network):
  wide, narrow = (
    _gradient(getattr(one_step[dtype][0], network))
    for dtype in ("float32", "bfloat16")
  )
  cosine = wide @ narrow / np.linalg.norm(wide) / np.linalg.norm(narrow)
  print(f"{network}: cosine {cosine:.5f}")
  assert cosine >= 0.99


def _trained(workdir, voices, dtype):
  """Returns the held-out log-mel distance of tiny after 200 steps."""
  overrides = {
    "data.sources": voices,
    "model.compute_dtype": dtype,
    "num_steps": 200,
    "discriminator.start_step": 150,
    "logging.tensorboard": False,
    "checkpoint.every_steps": 1_000,
  }
  result = subprocess.run(
    [
      sys.executable,
      "-m",
      "soundstream_jax.train",
      "--config=tiny",
      f"--workdir={workdir}",
      *(f"--config.{name}={value}" for name, value in overrides.items()),
    ],
    env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
    timeout=1000,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return [row["eval/log_mel"] for row in rows if "eval/log_mel" in row][-1]


def test_two_hundred_steps_of_tiny_end_where_float32_ends(voices, tmp_path):
  wide = _trained(tmp_path / "float32", voices, "float32")
  narrow = _trained(tmp_path / "bfloat16", voices, "bfloat16")
  print(f"log-mel distance: float32 {wide:.4f}, bfloat16 {narrow:.4f}")
  assert narrow == pytest.approx(wide, rel=0.05)
