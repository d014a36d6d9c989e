"""The loss balancer in a step: in the state, on devices, over a resume."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import topology_run

from soundstream_jax import config as config_lib
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed
from soundstream_jax.losses import objective
from soundstream_jax.train import kmeans_start, loop
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

NAMES = ("loss/reconstruction", "loss/adversarial", "loss/feature")
WEIGHTS = {
  "loss.reconstruction_weight": 1.0,
  "loss.adversarial_weight": 3.0,
  "loss.feature_weight": 4.0,
}
SHARES = np.array([1, 3, 4]) / 8
ON = {"loss.balancer": True, "loss.balancer_decay": 0.5, **WEIGHTS}

# Nothing that learns moves, so that norms stay what they are.
STILL = {
  "optimizer.learning_rate": 0.0,
  "optimizer.discriminator_learning_rate": 0.0,
  "optimizer.clip_norm": 0.0,
  "optimizer.beta1": 0.0,
  "quantizer.dropout": False,
  "quantizer.revival_threshold": 0.0,
  "quantizer.ema_decay": 0.999999,
}


def _leaves(tree):
  return {
    jax.tree_util.keystr(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_it_adds_two_numbers_a_loss_to_the_state_and_none_where_it_is_off(
  small_config,
):
  off, on = (
    _leaves(state_lib.to_items(state_lib.abstract(small_config(**values))))
    for values in ({}, {**ON, "loss.feature_weight": 0.0})
  )
  assert not any("balancer" in name for name in off)
  assert set(on) - set(off) == {
    f"['trainer']['balancer']['{name}']['{part}']"
    for name in NAMES[:2]
    for part in ("sum", "weight")
  }


def test_a_run_from_before_there_was_one_is_the_run_without(small_config):
  config = small_config()
  saved = config_lib.to_dict(config)
  for name in list(saved["loss"]):
    if name.startswith("balancer"):
      del saved["loss"][name]
  assert config_lib.from_dict(saved) == config


@pytest.fixture(scope="module")
def run(small_config):
  """Returns (advance, state): (state, batch, adversarial) -> state, metrics."""
  config = small_config(**ON, **STILL)
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  steps = {}
  for adversarial in (False, True):
    steps[adversarial], (abstract, _) = step_lib.build(
      config, mesh, adversarial=adversarial
    )
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  audio = 0.2 * np.random.default_rng(0).normal(size=(4, 1_600, 1))
  audio = audio.astype(np.float32)
  state = kmeans_start.initialise(config, mesh, state, [audio])

  def advance(state, audio=audio, *, adversarial=True):
    # A step donates its state.
    state = jax.tree.map(jnp.array, state)
    return steps[adversarial](state, batch_lib.Batch(audio))

  return advance, state


def _shares(metrics):
  return np.array([float(metrics[f"gradient_share/{n}"]) for n in NAMES])


def _decoder(state):
  """Gradients of the decoder: without beta1, Adam's first moments."""
  return jax.tree.leaves(state.opt_state[0][0].mu["decoder"])


def test_shares_are_of_the_losses_present_before_and_after_they_join(run):
  advance, state = run
  found = []
  for adversarial in (False, False, True, True, True):
    state, metrics = advance(state, adversarial=adversarial)
    found.append(_shares(metrics))
    if len(found) == 1:  # measured, and not yet learned from
      assert not any(np.any(leaf) for leaf in _decoder(state))
    if len(found) == 2:
      assert all(np.any(leaf) for leaf in _decoder(state))
  np.testing.assert_array_equal(found[0], 0)
  for joining in (1, 2):
    np.testing.assert_allclose(found[joining], [1, 0, 0], atol=1e-6)
  np.testing.assert_allclose(found[3], SHARES, atol=1e-3)
  np.testing.assert_allclose(found[4], SHARES, atol=1e-3)


def test_shares_hold_to_a_thousandth_after_the_warm_up(run):
  advance, state = run
  for _ in range(5):
    state, metrics = advance(state)
  np.testing.assert_allclose(_shares(metrics), SHARES, atol=1e-3)
  for name in NAMES:
    assert float(metrics[f"gradient_norm/{name}"]) > 0


def test_a_bad_step_teaches_it_nothing(run):
  advance, state = run
  state, _ = advance(state)
  bad = np.full((4, 1_600, 1), np.nan, np.float32)
  after, metrics = advance(state, bad)
  assert int(metrics["bad/steps"]) == 1
  assert len(_leaves(state.balancer)) == 6
  for name, leaf in _leaves(state.balancer).items():
    assert float(leaf) > 0
    np.testing.assert_array_equal(_leaves(after.balancer)[name], leaf)


@pytest.fixture(scope="module")
def wide(small_config, voices):
  """Three float64 steps: (run with overrides, what one device finds)."""
  jax.config.update("jax_enable_x64", True)
  try:

    def find(**overrides):
      shared = {
        "data.sources": voices,
        "batch_size": 16,
        "model.compute_dtype": "float64",
        "optimizer.clip_norm": 0.0,
      }
      config = small_config(**{**shared, **ON, **overrides})
      return topology_run.run(config, steps=3)

    yield find, find()
  finally:
    jax.config.update("jax_enable_x64", False)


def _assert_same_metrics(found, expected, *, but=()):
  names = [
    n for n in expected if n.startswith("metrics/") and n[10:] not in but
  ]
  assert f"metrics/2/gradient_share/{NAMES[0]}" in names
  for name in names:
    np.testing.assert_allclose(
      found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name
    )


@pytest.mark.slow
def test_eight_devices_and_two_microbatches_learn_what_one_device_does(wide):
  find, one = wide
  _assert_same_metrics(find(**{"mesh.data": 8, "microbatches": 2}), one)


@pytest.mark.slow
def test_the_scale_of_a_loss_changes_nothing(wide, monkeypatch):
  find, one = wide
  term = objective.ADVERSARIAL["loss/feature"]
  louder = dataclasses.replace(
    term, measure=lambda *outputs: 1000 * term.measure(*outputs)
  )
  monkeypatch.setitem(objective.ADVERSARIAL, "loss/feature", louder)
  found = find()
  _assert_same_metrics(
    found, one, but=("loss/feature", "gradient_norm/loss/feature")
  )
  np.testing.assert_allclose(
    found["metrics/2/loss/feature"], 1000 * one["metrics/2/loss/feature"]
  )


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits(
  small_config, voices, saved_arrays, tmp_path
):
  """From before the discriminators join, and to after."""
  make = functools.partial(
    small_config,
    **{
      "data.sources": voices,
      "discriminator.start_step": 3,
      "checkpoint.every_steps": 2,
      "compilation_cache": str(tmp_path / "cache"),
      **ON,
    },
  )
  assert loop.train(make(num_steps=6), tmp_path / "whole") == 0
  for steps in (2, 4, 6):
    assert loop.train(make(num_steps=steps), tmp_path / "parts") == 0
  one, other = (saved_arrays(tmp_path / name, 6) for name in ("whole", "parts"))
  assert one.keys() == other.keys()
  assert sum("balancer" in name for name in one) == 6
  for name, array in one.items():
    np.testing.assert_array_equal(array, other[name], err_msg=name)
  lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  shares = np.array(
    [
      [row[f"gradient_share/{name}"] for name in NAMES]
      for row in rows
      if "gradient_share/loss/feature" in row
    ]
  )
  assert shares.shape == (6, 3)
  np.testing.assert_allclose(shares[1:4], 3 * [[1, 0, 0]], atol=1e-6)
  assert np.all(shares[4:] > 0)
