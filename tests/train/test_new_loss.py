"""A new loss is one line of a table: a step weighs it and logs it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.devices import distributed
from soundstream_jax.losses import objective
from soundstream_jax.train import step as step_lib


def _toy_of_waveforms(weights, sample_rate_hz, target, prediction):
  del weights, sample_rate_hz
  return {"loss/toy": jnp.mean(jnp.abs(target - prediction))}


def _toy_of_outputs(real, fake):
  return jnp.mean(jnp.square(real[0].logits - fake[0].logits))


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
  monkeypatch.setitem(
    objective.RECONSTRUCTION,
    "loss/toy",
    objective.Term(lambda weights: 3.0, _toy_of_waveforms),
  )
  monkeypatch.setitem(
    objective.ADVERSARIAL,
    "loss/toy_adversarial",
    objective.Term(lambda weights: 0.5, _toy_of_outputs),
  )


def test_its_weight_multiplies_it(small_config):
  weights = small_config().loss
  rng = np.random.default_rng(0)
  target, other = rng.normal(size=(2, 1, 256, 1)).astype(np.float32)
  total, metrics = objective.reconstruction(weights, 24_000, target, other)
  np.testing.assert_allclose(
    total, metrics["loss/reconstruction"] + 3 * metrics["loss/toy"], rtol=1e-6
  )
  # A term whose weight is 0 is not computed.
  silent = dataclasses.replace(weights, waveform_weight=0.0)
  assert (
    "loss/waveform"
    not in objective.reconstruction(silent, 24_000, target, other)[1]
  )


@pytest.mark.parametrize("adversarial", [True, False])
def test_a_step_logs_it(small_config, adversarial):
  config = small_config()
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  step, arguments = step_lib.build(config, mesh, adversarial=adversarial)
  _, metrics = jax.eval_shape(step, *arguments)
  for name in ("loss/toy", "loss/toy_adversarial"):
    assert metrics[name].shape == ()
