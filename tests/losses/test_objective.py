"""Weights apply once, in the scalar; metrics are the unweighted terms."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config
from soundstream_jax.losses import adversarial, objective

WEIGHTS = config.Loss(
  adversarial_weight=2.0,
  feature_weight=30.0,
  reconstruction_weight=5.0,
  commitment_weight=7.0,
  spectral_windows=(64, 256),
)


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


@flax.struct.dataclass
class Output:
  logits: jax.Array
  features: list[jax.Array]


def normal(seed, *shape):
  values = np.random.default_rng(seed).standard_normal(shape)
  return values.astype(np.float32)


def outputs(seed):
  return [Output(normal(seed, 2, 5, 1), [normal(seed + 9, 2, 9, 4)])]


def audio(seed):
  return np.float32(0.1) * normal(seed, 2, 512, 1)


@pytest.fixture(scope="module")
def terms():
  """Every (weighted scalar, metrics) that the objective makes."""
  with jax.numpy_dtype_promotion("strict"):
    return jax.jit(lambda: make_terms(WEIGHTS))()


def make_terms(weights):
  real, fake = outputs(0), outputs(1)
  return {
    "reconstruction": objective.reconstruction(
      weights, 24_000, audio(0), audio(1)
    ),
    "adversarial": objective.adversarial(weights, real, fake),
    "discriminator": objective.discriminator(real, fake),
    "commitment": objective.commitment(weights, jnp.asarray([1.0, 2.0, 6.0])),
  }


def test_metrics_are_float32_scalars_with_group_and_name(terms):
  metrics = {}
  for scalar, some in terms.values():
    assert scalar.shape == () and scalar.dtype == jnp.float32
    assert not metrics.keys() & some.keys()
    metrics |= some
  assert set(metrics) == {
    "loss/reconstruction",
    "loss/reconstruction_linear",
    "loss/reconstruction_log",
    "loss/adversarial",
    "loss/feature",
    "loss/discriminator",
    "loss/commitment",
    "discriminator/accuracy_real",
    "discriminator/accuracy_fake",
  }
  for value in metrics.values():
    assert value.shape == () and value.dtype == jnp.float32


def test_each_weight_multiplies_its_term_and_no_metric(terms):
  scalar, metrics = terms["reconstruction"]
  np.testing.assert_allclose(scalar, 5 * metrics["loss/reconstruction"])
  np.testing.assert_allclose(
    metrics["loss/reconstruction"],
    metrics["loss/reconstruction_linear"] + metrics["loss/reconstruction_log"],
    rtol=1e-6,
  )
  scalar, metrics = terms["adversarial"]
  np.testing.assert_allclose(
    scalar,
    2 * metrics["loss/adversarial"] + 30 * metrics["loss/feature"],
    rtol=1e-6,
  )
  scalar, metrics = terms["commitment"]
  np.testing.assert_allclose(scalar, 7 * metrics["loss/commitment"])
  scalar, metrics = terms["discriminator"]
  assert scalar == metrics["loss/discriminator"]


def test_a_zero_weight_removes_the_gradient_of_its_term():
  real = outputs(0)
  weights = dataclasses.replace(WEIGHTS, feature_weight=0.0)
  slopes = jax.grad(lambda fake: objective.adversarial(weights, real, fake)[0])(
    outputs(1)
  )
  assert not np.asarray(slopes[0].features[0]).any()
  assert np.asarray(slopes[0].logits).any()


def test_commitment_is_the_mean_over_quantizers():
  _, metrics = objective.commitment(WEIGHTS, jnp.asarray([1.0, 2.0, 6.0]))
  assert metrics["loss/commitment"] == 3.0


def test_accuracies_say_how_often_each_side_is_right():
  def said(*logits):
    return [Output(np.asarray(logits, np.float32)[None, :, None], [])]

  loss, metrics = objective.discriminator(
    said(1.0, 2.0, -1.0, 3.0), said(-1.0, 1.0)
  )
  assert metrics["discriminator/accuracy_real"] == 0.75
  assert metrics["discriminator/accuracy_fake"] == 0.5
  assert loss == adversarial.discriminator_hinge(
    said(1.0, 2.0, -1.0, 3.0), said(-1.0, 1.0)
  )


def test_the_discriminator_loss_pushes_real_up_and_fake_down():
  slopes = jax.jit(
    jax.grad(lambda *both: objective.discriminator(*both)[0], argnums=(0, 1))
  )(outputs(0), outputs(1))
  to_real, to_fake = (np.asarray(side[0].logits) for side in slopes)
  assert (to_real <= 0).all() and to_real.any()
  assert (to_fake >= 0).all() and to_fake.any()
