"""Hinge and feature losses by hand and against numpy."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.losses import adversarial


@pytest.fixture(autouse=True)
def _strict():
  with jax.numpy_dtype_promotion("strict"):
    yield


@flax.struct.dataclass
class Output:
  logits: jax.Array
  features: list[jax.Array]


def said(*logits, features=()):
  """One clip's logits over time."""
  return Output(
    logits=np.asarray(logits, np.float32)[None, :, None],
    features=list(features),
  )


def random_outputs(seed):
  """Two discriminators of different depth, length and rank."""
  rng = np.random.default_rng(seed)

  def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)

  return [
    Output(normal(3, 5, 1), [normal(3, 7, 6, 2), normal(3, 4, 3, 8)]),
    Output(normal(3, 9, 1), [normal(3, 20, 4)]),
  ]


def test_discriminator_hinge_by_hand():
  real, fake = [said(2.0, 0.0, -1.0)], [said(-2.0, 0.5)]
  # (0 + 1 + 2) / 3 for the real, (0 + 1.5) / 2 for the fake.
  assert adversarial.discriminator_hinge(real, fake) == 1.0 + 0.75


def test_generator_hinge_by_hand():
  # (0 + 0.5 + 3) / 3: a hinge, not the mean of the logits.
  np.testing.assert_allclose(
    adversarial.generator_hinge([said(1.5, 0.5, -2.0)]), 3.5 / 3, rtol=1e-6
  )


def test_logits_beyond_the_margin_have_no_gradient():
  slope = jax.grad(
    lambda x: adversarial.generator_hinge([Output(x, [])]), argnums=0
  )(jnp.asarray([[[1.5], [0.5]]]))
  np.testing.assert_array_equal(slope[0, :, 0], [0.0, -0.5])


def test_losses_are_means_over_discriminators_of_any_length():
  short, long = said(0.0), said(-1.0, -1.0, -1.0, -1.0)
  assert adversarial.generator_hinge([short, long]) == (1.0 + 2.0) / 2
  assert adversarial.discriminator_hinge([short, long], [short, long]) == 2.0


def test_repeating_the_discriminators_changes_no_loss():
  real, fake = random_outputs(0), random_outputs(1)

  @jax.jit
  def losses(real, fake):
    return (
      adversarial.discriminator_hinge(real, fake),
      adversarial.generator_hinge(fake),
      adversarial.feature_distance(real, fake),
    )

  np.testing.assert_allclose(
    losses(real, fake), losses(2 * real, 2 * fake), rtol=1e-6
  )


def test_feature_distance_is_a_mean_of_means():
  real, fake = random_outputs(0), random_outputs(1)
  expected = np.mean(
    [
      np.mean(
        [
          np.mean(np.abs(np.asarray(a) - np.asarray(b)))
          for a, b in zip(r.features, f.features, strict=True)
        ]
      )
      for r, f in zip(real, fake, strict=True)
    ]
  )
  actual = jax.jit(adversarial.feature_distance)(real, fake)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_feature_distance_is_zero_for_equal_features():
  real = random_outputs(0)
  value, slopes = jax.jit(
    jax.value_and_grad(adversarial.feature_distance, argnums=1)
  )(real, real)
  assert value == 0
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))


def test_no_gradient_reaches_the_features_of_real_audio():
  real, fake = random_outputs(0), random_outputs(1)
  to_real, to_fake = jax.tree.map(
    np.asarray,
    jax.jit(jax.grad(adversarial.feature_distance, argnums=(0, 1)))(real, fake),
  )
  assert not any(x.any() for o in to_real for x in o.features)
  assert all(x.all() for o in to_fake for x in o.features)


def test_features_of_unequal_lists_are_refused():
  real, fake = random_outputs(0), random_outputs(1)
  with pytest.raises(ValueError, match="zip"):
    adversarial.feature_distance(real, fake[:1])
  with pytest.raises(ValueError, match="zip"):
    adversarial.feature_distance(real[:1], [fake[0].replace(features=[])])


def test_losses_are_float32_for_bfloat16_outputs():
  def low(outputs):
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16.dtype), outputs)

  real, fake = low(random_outputs(0)), low(random_outputs(1))
  for loss in jax.eval_shape(
    lambda real, fake: (
      adversarial.discriminator_hinge(real, fake),
      adversarial.generator_hinge(fake),
      adversarial.feature_distance(real, fake),
      adversarial.share_positive(real),
    ),
    real,
    fake,
  ):
    assert loss.dtype == jnp.float32
    assert loss.shape == ()


def test_share_positive_counts_logits_above_zero():
  outputs = [said(1.0, 0.0, -1.0, 0.1), said(1.0)]
  assert adversarial.share_positive(outputs) == (0.5 + 1.0) / 2
