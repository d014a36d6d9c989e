"""Laws of the loss balancer: a weight is a share, whatever a loss's scale."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.losses import balancer, objective

WEIGHTS = {"a": 1.0, "b": 3.0, "c": 6.0}
SHARES = {"a": 0.1, "b": 0.3, "c": 0.6}
SETTINGS = config_lib.Loss(balancer_norm=2.0, balancer_decay=0.9)


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


def _gradients(seed, names="abc", batch=4, scales=None):
  """Gaussian gradients of means over a batch, at scales far apart."""
  scales = scales or {"a": 1e-5, "b": 1.0, "c": 1e4}
  rng = np.random.default_rng(seed)
  return {
    name: jnp.asarray(
      scales[name] / batch * rng.normal(size=(batch, 50, 1)), jnp.float32
    )
    for name in names
  }


def _step(averages, gradients, settings=SETTINGS):
  """One step: (what it does, the averages after it)."""
  weights = {name: WEIGHTS[name] for name in gradients}
  balanced = balancer.balance(settings, averages, weights, gradients)
  return balanced, balancer.update(
    averages, balanced.measured.norms, decay=settings.balancer_decay
  )


def _shares(balanced):
  found = balancer.metrics(balanced.measured)
  return {name: float(found[f"gradient_share/{name}"]) for name in "abc"}


def _start():
  return balancer.start(list("abc"), jnp.float32)


def test_shares_hold_from_the_second_step_on_where_norms_stay():
  averages, gradients = _start(), _gradients(0)
  for _ in range(3):
    balanced, averages = _step(averages, gradients)
  for name, share in SHARES.items():
    assert _shares(balanced)[name] == pytest.approx(share, rel=1e-5)
  applied = sum(map(float, balanced.measured.applied.values()))
  assert applied == pytest.approx(SETTINGS.balancer_norm, rel=1e-5)


def test_shares_hold_in_the_mean_over_steps_where_norms_change():
  rng = np.random.default_rng(0)
  step = jax.jit(
    lambda averages, gradients: _step(
      averages,
      gradients,
      dataclasses.replace(SETTINGS, balancer_decay=0.995),
    )
  )
  averages, applied = _start(), dict.fromkeys("abc", 0.0)
  for number in range(3_000):
    scales = {n: 10.0**k * rng.uniform(0.9, 1.1) for k, n in enumerate("abc")}
    balanced, averages = step(averages, _gradients(number, scales=scales))
    for name, norm in balanced.measured.applied.items():
      applied[name] += float(norm) * (number >= 1_000)
  for name, share in SHARES.items():
    assert applied[name] / sum(applied.values()) == pytest.approx(
      share, abs=1e-3
    )


def test_the_scale_of_a_loss_changes_nothing():
  found = []
  for scale in (1.0, 1000.0):
    averages = _start()
    for seed in range(3):
      gradients = _gradients(seed)
      gradients["b"] = scale * gradients["b"]
      balanced, averages = _step(averages, gradients)
    found.append(balanced.gradient)
  assert np.any(found[0] != 0)
  np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-7)


def test_shares_are_of_the_losses_present():
  averages = _start()
  for _ in range(2):
    balanced, averages = _step(averages, _gradients(0, "ab"))
  found = balanced.measured
  assert float(found.applied["a"]) == pytest.approx(0.25 * 2.0, rel=1e-5)
  # One that joins is measured first.
  balanced, averages = _step(averages, _gradients(0, "abc"))
  assert _shares(balanced) == pytest.approx({"a": 0.25, "b": 0.75, "c": 0.0})
  assert float(balanced.measured.norms["c"]) > 1e3
  balanced, averages = _step(averages, _gradients(0, "abc"))
  assert _shares(balanced) == pytest.approx(SHARES)


def test_halves_of_a_batch_have_its_norms_and_its_gradient():
  averages = _start()
  _, averages = _step(averages, _gradients(0))
  gradients = _gradients(1)
  whole, _ = _step(averages, gradients)
  halves = [
    # Of a mean over half as many.
    _step(averages, {n: 2 * g[rows] for n, g in gradients.items()})[0]
    for rows in (slice(0, 2), slice(2, 4))
  ]
  mean = jax.tree.map(lambda a, b: (a + b) / 2, *(h.measured for h in halves))
  for found, expected in zip(
    jax.tree.leaves(mean), jax.tree.leaves(whole.measured), strict=True
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-6)
  joined = jnp.concatenate([half.gradient / 2 for half in halves])
  np.testing.assert_allclose(joined, whole.gradient, rtol=1e-6)


def test_the_first_loud_example_after_silence_is_bounded():
  averages, silent = _start(), {**_gradients(0), "c": jnp.zeros((4, 50, 1))}
  _, averages = _step(averages, _gradients(0))
  for _ in range(100):
    balanced, averages = _step(averages, silent)
  assert np.all(np.isfinite(balanced.gradient))
  loud, _ = _step(averages, _gradients(0))
  most = 0.6 * SETTINGS.balancer_norm / (1 - SETTINGS.balancer_decay)
  assert float(loud.measured.applied["c"]) == pytest.approx(most, rel=1e-4)
  # A loss that was never more than silent adds nothing.
  _, averages = _step(_start(), silent)
  balanced, _ = _step(averages, silent)
  assert float(balanced.measured.applied["c"]) == 0
  assert np.all(np.isfinite(balanced.gradient))


def test_a_value_that_is_not_finite_is_not_hidden():
  _, averages = _step(_start(), _gradients(0))
  for bad in (np.nan, np.inf):
    gradients = _gradients(0)
    gradients["a"] = gradients["a"].at[0, 0, 0].set(bad)
    balanced, _ = _step(averages, gradients)
    assert not np.all(np.isfinite(balanced.gradient))
    assert not np.isfinite(balanced.measured.norms["a"])


def test_what_weights_do_without_it_is_measured():
  gradients = _gradients(0)
  applied = {name: WEIGHTS[name] * g for name, g in gradients.items()}
  found = balancer.metrics(balancer.weighted(WEIGHTS, applied))
  norms = {
    name: np.mean(4 * np.linalg.norm(g[:, :, 0], axis=1))
    for name, g in gradients.items()
  }
  whole = sum(WEIGHTS[name] * norm for name, norm in norms.items())
  for name, norm in norms.items():
    np.testing.assert_allclose(found[f"gradient_norm/{name}"], norm, rtol=1e-5)
    np.testing.assert_allclose(
      found[f"gradient_share/{name}"], WEIGHTS[name] * norm / whole, rtol=1e-5
    )


def test_a_loss_without_a_weight_takes_no_part():
  settings = config_lib.Loss(feature_weight=0.0)
  assert objective.weights(settings, adversarial=False) == {
    "loss/reconstruction": 1.0
  }
  assert objective.weights(settings, adversarial=True) == {
    "loss/reconstruction": 1.0,
    "loss/adversarial": 1.0,
  }
