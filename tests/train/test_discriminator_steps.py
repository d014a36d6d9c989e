"""Laws of discriminators that learn in some steps, and of clipped gradients."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from soundstream_jax import errors
from soundstream_jax.checkpoint import folder
from soundstream_jax.devices import distributed, sharding
from soundstream_jax.launch.sweep.cost import counting
from soundstream_jax.model import initialise, quantizer
from soundstream_jax.train import gradients, loop, optimizer
from soundstream_jax.train import progress as progress_lib
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib
from soundstream_jax.train.monitoring import clipping

EVERY = 3
# One small discriminator, and all that is new.
OPTIONS = {
  "discriminator.wave_scales": 0,
  "discriminator.stft_windows": (128,),
  "discriminator.every_steps": EVERY,
  "optimizer.discriminator_beta1": 0.8,
  "optimizer.clip_to_median": 3.0,
  "optimizer.schedule": "cosine",
  "optimizer.weight_decay": 0.01,
}
# These programs run once, so compiling them quickly matters more.
QUICK = {"xla_backend_optimization_level": 0}


def drawn(tree, seed):
  """Returns numbers in place of arrays; those of counters are 0."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: (
      np.abs(rng.standard_normal(leaf.shape)).astype(leaf.dtype)
      * (leaf.dtype == np.float32)
    ),
    tree,
  )


def same(one, other):
  return all(
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  )


def test_discriminators_learn_in_every_nth_step_and_rest_between(small_config):
  config = small_config(**OPTIONS)
  update = step_lib._updater(config, adversarial=True)
  state = drawn(state_lib.abstract(config), 0)
  codebooks = state.codebooks
  statistics = quantizer.Statistics(
    counts=codebooks.counts,
    sums=codebooks.sums,
    candidates=codebooks.vectors[:, :4],
  )

  @jax.jit
  def step(state, gradient, disc_gradient):
    learns = optimizer.discriminators_learn(config.discriminator, state.step)
    after = update(state, gradient, disc_gradient, statistics, learns)
    logged = optimizer.metrics(
      config,
      {"generator": state.opt_state, "discriminator": state.disc_opt_state},
    )
    return after.replace(step=state.step + 1), logged

  for number in range(1, 2 * EVERY + 1):
    after, logged = step(
      state, drawn(state.params, number), drawn(state.disc_params, number)
    )
    learns = number % EVERY == 0
    assert learns != same(state.disc_params, after.disc_params)
    # Nor do moments fade, or the schedule go on.
    assert learns != same(state.disc_opt_state, after.disc_opt_state)
    assert not same(state.params, after.params)
    assert logged["discriminator/updates"] == (number - 1) // EVERY
    state = after
  for opt_state, updates in (
    (state.opt_state, number),
    (state.disc_opt_state, number // EVERY),
  ):
    assert opt_state[0].count == updates  # norms that are kept
    assert opt_state[-1][0].count == updates


def test_a_gradient_that_is_left_out_is_zero_and_changes_no_other(small_config):
  """On devices where conditionals cost nothing, it is computed in one."""
  config = small_config(**OPTIONS)
  net = state_lib.discriminator_module(config)
  params = initialise.draw(
    state_lib._declare_discriminators(config), jax.random.key(0)
  )
  rng = np.random.default_rng(0)
  real, fake = rng.standard_normal((2, 2, 800, 1)).astype(np.float32)

  def run(learns):
    gradient, judged = gradients._adversarial_gradients(
      config, net, params, real, fake, {}, learns=learns
    )
    return gradient, judged.total, judged.metrics

  both = jax.jit(
    lambda learns: (run(None), run(learns)), compiler_options=QUICK
  )
  for learns in (True, False):
    (gradient, *expected), (found, *others) = both(learns)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    wanted = gradient if learns else jax.tree.map(np.zeros_like, gradient)
    for a, b in zip(
      jax.tree.leaves((wanted, expected)),
      jax.tree.leaves((found, others)),
      strict=True,
    ):
      np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * np.abs(a).max())


@pytest.mark.slow
def test_a_gradient_that_is_left_out_costs_nothing_where_it_is_counted(
  small_config, monkeypatch
):
  def units(**overrides):
    overrides |= {"discriminator.wave_scales": 0}
    return counting.count(small_config(**overrides)).units[True]

  monkeypatch.setattr(gradients, "SLOW_CONDITIONALS", ())
  usual = units()
  assert 0.5 * usual < units(**{"discriminator.every_steps": 2}) < 0.95 * usual


def test_norms_of_the_past_are_on_every_device(small_config):
  config = small_config(
    **{**OPTIONS, "mesh.data": 4, "mesh.fsdp": 2, "batch_size": 8}
  )
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:8])
  abstract = state_lib.abstract(config)
  places = sharding.of_tree(abstract, mesh)
  for opt_state in (places.opt_state, places.disc_opt_state):
    assert isinstance(opt_state[0], optimizer.Norms)
    assert all(place.is_fully_replicated for place in opt_state[0])


# What the log says of clipping.


def logged(config, steps):
  """Returns the shares that are logged of (generator's, discriminators') norms.

  A norm of None is that of a bad step.
  """
  counter, found = clipping.Clipping(config), {}
  for step, (norms, limits) in steps.items():
    metrics = dict(
      zip(
        ("gradient_norm/generator", "gradient_norm/discriminator"),
        norms or (np.nan, np.nan),
        strict=True,
      )
    )
    counter.add(metrics | limits, good=norms is not None)
    if step % config.logging.every_steps == 0 or step == config.num_steps:
      found[step] = {
        name.removeprefix("gradient_clipped/"): share
        for name, share in counter.take(step).items()
      }
  return found


def test_the_share_is_of_all_steps_since_the_last_line(small_config):
  config = small_config(**{"logging.every_steps": 4, "num_steps": 10})
  assert config.optimizer.clip_norm == 10.0
  low, high = (9.0, 11.0), (11.0, 0.0)
  steps = {1: high, 2: low, 3: None, 4: low}  # one clipped of three
  steps |= {5: high, 6: high, 7: high, 8: high}
  steps |= {9: low, 10: low}
  found = logged(config, {step: (norms, {}) for step, norms in steps.items()})
  assert found[4] == {"generator": pytest.approx(1 / 3), "discriminator": 1.0}
  # No gradient at all: nothing is said of those that rested.
  assert found[8] == {"generator": 1.0}
  assert found[10] == {"generator": 0.0, "discriminator": 1.0}


def test_a_start_amid_an_interval_says_nothing_of_it(small_config):
  """So that a resumed run logs nothing that an uninterrupted one does not."""
  config = small_config(**{"logging.every_steps": 4, "num_steps": 100})
  steps = {step: ((11.0, 9.0), {}) for step in range(3, 13)}
  found = logged(config, steps)
  assert found[4] == {}
  assert found[8] == found[12] == {"generator": 1.0, "discriminator": 0.0}


def test_a_limit_that_moves_is_the_one_that_counts(small_config):
  config = small_config(**{"optimizer.clip_norm": 0.0, **OPTIONS})
  assert config.logging.every_steps == 1
  limits = {f"gradient_limit/{n}": 5.0 for n in ("generator", "discriminator")}
  found = logged(config, {1: ((6.0, 4.0), limits), 2: ((4.0, 6.0), limits)})
  assert found[1] == {"generator": 1.0, "discriminator": 0.0}
  assert found[2] == {"generator": 0.0, "discriminator": 1.0}


def test_without_clipping_nothing_is_logged_of_it(small_config):
  config = small_config(**{"optimizer.clip_norm": 0.0})
  assert logged(config, {1: ((1e9, 1e9), {})}) == {1: {}}


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
  small_config, voices, saved_arrays, tmp_path, monkeypatch
):
  config = small_config(**{"data.sources": voices, **OPTIONS})
  assert loop.train(config, tmp_path / "whole") == 0
  read = progress_lib.read

  def and_then_stop(progress, outputs):
    if progress.pending[0].step == 3:
      os.kill(os.getpid(), signal.SIGTERM)
    return read(progress, outputs)

  with monkeypatch.context() as patch:
    patch.setattr(progress_lib, "read", and_then_stop)
    stopped = loop.train(config, tmp_path / "halves")
    assert stopped == errors.EXIT_PREEMPTED
  assert 0 < folder.steps(tmp_path / "halves")[-1] < config.num_steps
  assert loop.train(config, tmp_path / "halves") == 0
  one, other = (
    saved_arrays(tmp_path / name, config.num_steps)
    for name in ("whole", "halves")
  )
  assert one.keys() == other.keys()
  for name, array in one.items():
    np.testing.assert_array_equal(array, other[name], err_msg=name)
  lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
  for row in map(json.loads, lines):
    if "loss/reconstruction" in row:
      assert 0 <= row["gradient_clipped/generator"] <= 1
      learnt = row["step"] % EVERY == 0
      assert learnt == ("gradient_clipped/discriminator" in row)
      assert learnt == (row["gradient_norm/discriminator"] > 0)
      assert row["loss/discriminator"] > 0
      assert row["discriminator/updates"] == (row["step"] - 1) // EVERY
      assert row["gradient_limit/generator"] == config.optimizer.clip_norm
