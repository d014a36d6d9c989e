"""Laws of the optimizers, beside optax's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.settings import sweeps
from soundstream_jax.train import optimizer
from soundstream_jax.train import state as state_lib

PARAMS = {
  "conv": {"kernel": jnp.full((2,), 4.0), "bias": jnp.full((2,), 4.0)},
  "film": {"scale": jnp.full((2, 2), 4.0), "shift": jnp.full((2, 2), 4.0)},
}

OF_RUNS = (
  "num_steps",
  "discriminator.start_step",
  "discriminator.every_steps",
)


def configured(**values):
  """Returns a Config with other optimizers."""
  named = {
    name if name in OF_RUNS else f"optimizer.{name}": value
    for name, value in values.items()
  }
  return config_lib.from_dict(sweeps.apply(config_lib.default(), named))


def gradients(norm):
  """Of so large a global norm, toward PARAMS."""
  count = sum(leaf.size for leaf in jax.tree.leaves(PARAMS))
  return jax.tree.map(lambda leaf: 0 * leaf + norm / count**0.5, PARAMS)


def updated(transform, norms, params=None):
  """Returns the parameters and the optimizer's state after gradients."""
  params = PARAMS if params is None else params
  opt_state = transform.init(params)
  apply = jax.jit(functools.partial(optimizer.apply, transform))
  for norm in norms:
    params, opt_state = apply(gradients(norm), opt_state, params)
  return params, opt_state


@pytest.mark.parametrize("norm", [0.0, 1.0, 10.0, 30.0])
def test_gradients_are_clipped_as_optax_clips_them(norm):
  settings = config_lib.Optimizer()
  assert settings.clip_norm == 10.0
  gradients = {"a": jnp.array([0.6, 0.0]) * norm, "b": jnp.array(0.8) * norm}
  params = jax.tree.map(jnp.ones_like, gradients)
  ours, _ = optimizer.build(config_lib.Config())
  theirs = optax.chain(
    optax.clip_by_global_norm(settings.clip_norm),
    optax.adam(1e-3, b1=settings.beta1, b2=settings.beta2),
  )
  # Adam's first update has the same size for any gradient; its moments do not.
  states = []
  for transform in (ours, theirs):
    _, state = optimizer.apply(
      transform, gradients, transform.init(params), params
    )
    states.append(optax.tree.get(state, "mu"))
  for mine, other in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_allclose(mine, other, rtol=1e-6)
    assert np.all(np.isfinite(mine))


def test_options_that_are_off_add_nothing_to_the_state():
  """Places in it are paths of checkpoints."""
  off = optax.chain(optax.identity(), optax.adam(optax.constant_schedule(1e-3)))
  adam = jax.tree.structure(off.init(PARAMS))
  for transform in optimizer.build(config_lib.Config()):
    assert jax.tree.structure(transform.init(PARAMS)) == adam
  for on in ({"schedule": "cosine"}, {"discriminator_beta1": 0.8}):
    for transform in optimizer.build(configured(**on)):
      assert jax.tree.structure(transform.init(PARAMS)) == adam
  decayed, _ = optimizer.build(configured(weight_decay=0.1))
  assert len(jax.tree.leaves(decayed.init(PARAMS))) == len(
    jax.tree.leaves(off.init(PARAMS))
  )


# Clipping to the median.


def norms_of(opt_state):
  return opt_state[0]


@pytest.mark.parametrize("clip_norm", [0.0, 10.0, 1e6])
def test_clipping_to_the_median_is_by_the_norms_of_the_last_steps(clip_norm):
  """Before there are enough, clip_norm holds; afterwards the lower of both."""
  config = configured(clip_to_median=3.0, clip_norm=clip_norm, beta1=0.0)
  transform, _ = optimizer.build(config)
  apply = jax.jit(functools.partial(optimizer.apply, transform))
  rng = np.random.default_rng(0)
  drawn = np.exp(3 * rng.standard_normal(optimizer.HISTORY + 40))
  params, opt_state = PARAMS, transform.init(PARAMS)
  limits = []
  for step, norm in enumerate(drawn.astype(np.float32)):
    most = clip_norm or np.inf
    if step >= optimizer.HISTORY:
      last = drawn[step - optimizer.HISTORY : step]
      most = min(most, 3.0 * np.median(last))
    limit = optimizer.metrics(
      config, {"generator": opt_state, "discriminator": opt_state}
    )["gradient_limit/generator"]
    np.testing.assert_allclose(limit, most, rtol=1e-5)
    params, opt_state = apply(gradients(norm), opt_state, params)
    # Without averaging, Adam's first moment is what was left of the gradient.
    left = optax.tree.norm(opt_state[-1][0].mu)
    np.testing.assert_allclose(left, min(norm, most), rtol=1e-5)
    limits.append(most)
  # Some were clipped by the median, in every case.
  assert np.any(drawn[-40:] > np.asarray(limits[-40:]))


@pytest.mark.parametrize("norm", [np.nan, np.inf, 0.0])
def test_a_step_that_says_nothing_enters_no_history(norm):
  transform, _ = optimizer.build(configured(clip_to_median=3.0))
  _, before = updated(transform, [1.0, 2.0])
  _, after = updated(transform, [1.0, norm, 2.0])
  jax.tree.map(np.testing.assert_array_equal, norms_of(before), norms_of(after))
  assert norms_of(after).count == 2


def test_gradients_that_come_back_after_none_are_finite():
  """Discriminators that win have no gradient at all."""
  transform, _ = optimizer.build(configured(clip_to_median=3.0))
  params, _ = updated(transform, [*[0.0] * (optimizer.HISTORY + 1), 1.0])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


# AdamW.


def test_weight_decay_shrinks_kernels_and_nothing_else():
  config = configured(weight_decay=0.5, learning_rate=0.1, warmup_steps=0)
  after, _ = updated(optimizer.build(config)[0], [0.0])
  np.testing.assert_allclose(
    after["conv"]["kernel"], (1 - 0.1 * 0.5) * PARAMS["conv"]["kernel"]
  )
  for path in (("conv", "bias"), ("film", "scale"), ("film", "shift")):
    np.testing.assert_array_equal(
      after[path[0]][path[1]], PARAMS[path[0]][path[1]]
    )


def test_weight_decay_is_apart_from_the_gradients():
  """Decoupled: Adam's moments, and so its own step, stay what they are."""
  both = []
  for decay in (0.0, 0.5):
    config = configured(weight_decay=decay, learning_rate=0.1, warmup_steps=0)
    both.append(updated(optimizer.build(config)[0], [3.0]))
  (plain, adam), (decayed, adamw) = both
  for name in ("mu", "nu"):
    jax.tree.map(
      np.testing.assert_array_equal,
      optax.tree.get(adam, name),
      optax.tree.get(adamw, name),
    )
  np.testing.assert_allclose(
    plain["conv"]["kernel"] - decayed["conv"]["kernel"],
    0.1 * 0.5 * PARAMS["conv"]["kernel"],
    rtol=1e-5,
  )
  np.testing.assert_array_equal(plain["conv"]["bias"], decayed["conv"]["bias"])


def test_what_weight_decay_is_for_are_arrays_of_convolutions(small_config):
  config = small_config(**{"model.film": "encoder"})
  state = state_lib.abstract(config)
  assert "film" in state.params
  for tree in (state.params, state.disc_params):
    chosen = optimizer._kernels(tree)
    for (path, shape), is_kernel in zip(
      jax.tree_util.tree_leaves_with_path(tree),
      jax.tree.leaves(chosen),
      strict=True,
    ):
      inside_film = any("film" in str(key) for key in path)
      assert is_kernel == (len(shape.shape) > 1 and not inside_film), path


# Rates and betas.


def test_a_cosine_falls_from_the_peak_to_nothing_over_the_run():
  config = configured(
    schedule="cosine",
    learning_rate=2.0,
    warmup_steps=10,
    decay_per_step=0.5,
    num_steps=110,
  )
  rate = jax.vmap(optimizer.schedule(config.optimizer, 2.0, 110))(
    jnp.arange(112)
  )
  np.testing.assert_allclose(rate[:10], 0.2 * np.arange(1, 11), rtol=1e-6)
  after = np.asarray(rate[10:110], np.float64)
  assert np.all(np.diff(after) < 0) and after[-1] > 0
  # Point symmetric around the half of the peak, in the middle of the decay.
  np.testing.assert_allclose(after[1:] + after[:0:-1], 2.0, atol=1e-5)
  np.testing.assert_allclose(rate[110:], 0.0, atol=1e-6)


def last_rate(transform, updates):
  """Returns the size of the last of so many updates of a constant gradient."""
  params = {"a": jnp.zeros(())}
  opt_state = transform.init(params)
  # As if all but one had been: counts are all that a rate knows.
  opt_state = jax.tree.map(
    lambda leaf: (
      jnp.full_like(leaf, updates - 1) if leaf.dtype == jnp.int32 else leaf
    ),
    opt_state,
  )
  after, _ = optimizer.apply(transform, {"a": jnp.ones(())}, opt_state, params)
  return abs(float(after["a"]))


@pytest.mark.parametrize("every", [1, 3])
def test_both_networks_end_a_cosine_with_the_run(every):
  """Discriminators begin late, and count the steps in which they learn."""
  values = {
    "schedule": "cosine",
    "warmup_steps": 0,
    "clip_norm": 0.0,
    "beta1": 0.0,
    "beta2": 0.0,
    "learning_rate": 1.0,
    "discriminator_learning_rate": 1.0,
    "num_steps": 100,
    "discriminator.start_step": 40,
    "discriminator.every_steps": every,
  }
  config = configured(**values)
  learns = [
    step
    for step in range(40, 100)
    if every == 1 or optimizer.discriminators_learn(config.discriminator, step)
  ]
  for transform, updates in zip(
    optimizer.build(config), (100, len(learns)), strict=True
  ):
    lowest = 0.5 * (1 + np.cos(np.pi * (updates - 1) / updates))
    np.testing.assert_allclose(last_rate(transform, updates), lowest, rtol=1e-3)
    assert last_rate(transform, updates + 1) < 1e-6


@pytest.mark.parametrize("beta", ["beta1", "beta2"])
def test_betas_of_the_discriminators_are_theirs_alone(beta):
  moment = {"beta1": "mu", "beta2": "nu"}[beta]

  def moments(**values):
    return [
      optax.tree.get(updated(transform, [3.0, 1.0])[1], moment)
      for transform in optimizer.build(configured(**values))
    ]

  usual, said = moments(), moments(**{f"discriminator_{beta}": 0.7})
  both = moments(**{beta: 0.7})
  same = functools.partial(jax.tree.map, np.testing.assert_array_equal)
  same(usual[0], usual[1])
  same(said[0], usual[0])
  same(said[1], both[0])
  same(both[0], both[1])
  assert np.any(said[1]["conv"]["bias"] != usual[1]["conv"]["bias"])
