"""Schedules of weights: functions of the step, of nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.losses import balancer, objective, schedule

STEPS = np.arange(40)


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


def of_steps(function, **settings):
  """The factor after every number of finished steps."""
  return np.array(
    [function(jnp.int32(s), **settings, dtype=jnp.float32) for s in STEPS]
  )


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_a_rise_is_nothing_before_its_start_and_whole_after_its_steps(steps):
  found = of_steps(schedule.rise, start=10, steps=steps)
  np.testing.assert_array_equal(found[:10], 0)
  np.testing.assert_allclose(
    found[10 : 10 + steps], np.arange(1, steps + 1) / steps, rtol=1e-6
  )
  np.testing.assert_array_equal(found[10 + steps - 1 :], 1)


@pytest.mark.parametrize(("first", "last"), [(0, 5), (10, 11), (10, 30)])
def test_a_fall_is_whole_up_to_its_first_step_and_nothing_from_its_last(
  first, last
):
  found = of_steps(schedule.fall, first=first, last=last)
  number = STEPS + 1  # of the step that comes next
  expected = np.interp(number, [first, last], [1, 0])
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_array_equal(found[number >= last], 0)


def test_steps_beyond_what_a_float_counts_do_not_wear_a_schedule_down():
  late = jnp.int32(2_000_000_000)
  assert schedule.rise(late, start=0, steps=10, dtype=jnp.float32) == 1
  assert schedule.fall(late, first=0, last=10, dtype=jnp.float32) == 0


def settings(**loss):
  return config_lib.Config(
    loss=config_lib.Loss(**loss),
    discriminator=config_lib.Discriminator(start_step=10),
  )


def test_without_schedules_no_weight_has_a_factor():
  every = settings(waveform_weight=1.0, complex_weight=1.0)
  assert objective.factors(every, jnp.int32(3)) == {}


def test_losses_without_a_weight_have_no_factor():
  found = objective.factors(
    settings(
      feature_weight=0.0,
      complex_weight=2.0,
      adversarial_ramp_steps=4,
      waveform_fade=(0, 4),
    ),
    jnp.int32(11),
  )
  assert set(found) == {"loss/adversarial", "loss/complex"}
  assert found["loss/adversarial"] == 0.5
  assert found["loss/complex"] == 0.0


def test_a_factor_scales_what_its_loss_adds_and_no_metric():
  loss = config_lib.Loss(
    waveform_weight=3.0, spectral_windows=(64,), mel_bins=10
  )
  a, b = np.random.default_rng(0).normal(size=(2, 2, 512, 1))
  a, b = a.astype(np.float32), b.astype(np.float32)
  half = {"loss/waveform": jnp.float32(0.5)}
  whole, metrics = objective.reconstruction(loss, 24_000, a, b)
  scaled, same = objective.reconstruction(loss, 24_000, a, b, half)
  assert metrics == same
  np.testing.assert_allclose(
    whole - scaled, 1.5 * metrics["loss/waveform"], rtol=1e-4
  )


def test_a_balanced_loss_has_the_share_of_its_weight_at_the_step():
  random = np.random.default_rng(0)
  gradients = {
    name: jnp.asarray(random.normal(size=(2, 50, 1)), jnp.float32)
    for name in ("a", "b")
  }
  config = config_lib.Loss(balancer_norm=2.0, balancer_decay=0.5)
  averages = balancer.start(["a", "b"], jnp.float32)
  norms = balancer.weighted(dict.fromkeys("ab", 1.0), gradients).norms
  averages = balancer.update(averages, norms, decay=0.5)
  for factor in (0.0, 0.25, 1.0):
    weights = objective.scheduled(
      {"a": 1.0, "b": 3.0}, {"b": jnp.float32(factor)}
    )
    balanced = balancer.balance(config, averages, weights, gradients)
    found = balancer.metrics(balanced.measured)
    share = 3 * factor / (1 + 3 * factor)
    np.testing.assert_allclose(found["gradient_share/b"], share, rtol=1e-5)
    total = sum(map(float, balanced.measured.applied.values()))
    np.testing.assert_allclose(total, 2.0, rtol=1e-5)


def test_a_loss_whose_weight_has_come_to_nothing_is_measured_as_nothing():
  gradients = {"a": jnp.ones((1, 4, 1)), "b": jnp.zeros((1, 4, 1))}
  found = balancer.metrics(
    balancer.weighted({"a": 2.0, "b": jnp.float32(0)}, gradients)
  )
  assert found["gradient_norm/a"] == 1.0
  assert found["gradient_norm/b"] == found["gradient_share/b"] == 0.0


def test_an_adversarial_loss_without_a_weight_is_measured_and_not_learnt_from():
  real, fake = object(), object()
  terms = {
    name: dataclasses.replace(term, measure=lambda *_, k=k: jnp.float32(k + 1))
    for k, (name, term) in enumerate(objective.ADVERSARIAL.items())
  }
  with pytest.MonkeyPatch.context() as patch:
    for name, term in terms.items():
      patch.setitem(objective.ADVERSARIAL, name, term)
    for weights, expected in (
      ((2.0, 0.0), 2.0),
      ((0.0, 3.0), 6.0),
      ((0, 0), 0),
    ):
      loss = config_lib.Loss(
        adversarial_weight=weights[0], feature_weight=weights[1]
      )
      total, metrics = objective.adversarial(loss, real, fake)
      assert total == expected
      assert metrics == {"loss/adversarial": 1.0, "loss/feature": 2.0}
