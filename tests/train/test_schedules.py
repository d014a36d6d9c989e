"""Scheduled weights in a step: one program, whose losses follow the step."""

import jax
import numpy as np
import pytest

from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed
from soundstream_jax.train import kmeans_start
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

NAMES = ("loss/waveform", "loss/complex", "loss/adversarial", "loss/feature")
WEIGHTS = (5.0, 2.0, 1.0, 100.0)
ON = {
  "loss.waveform_weight": 5.0,
  "loss.complex_weight": 2.0,
  "loss.waveform_fade": (10, 14),
  "loss.adversarial_ramp_steps": 4,
  "quantizer.dropout": False,
  "optimizer.clip_norm": 0.0,
}


def _build(config):
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  return step_lib.build(config, mesh)


@pytest.fixture(scope="module")
def at(small_config):
  """Returns the function (finished steps) -> (gradients, metrics)."""
  config = small_config(**ON)
  step, (abstract, _) = _build(config)
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  shape = (config.batch_size, config.data.crop_samples, 1)
  audio = 0.2 * np.random.default_rng(0).normal(size=shape)
  audio = audio.astype(np.float32)
  batch = batch_lib.Batch(audio)
  state = kmeans_start.initialise(
    config,
    distributed.make_mesh(config.mesh, jax.devices()[:1]),
    state,
    [audio],
  )
  host = jax.tree.map(np.array, state)
  found = {}

  def run(finished):
    if finished not in found:
      before = host.replace(step=np.int32(finished))
      after, metrics = step(
        jax.tree.map(
          lambda leaf, like: jax.device_put(leaf, like.sharding),
          before,
          abstract,
        ),
        batch,
      )
      # Adam's first moments after its first step are the gradient.
      moments = jax.tree.leaves(after.opt_state[0][0].mu)
      flat = np.concatenate([np.ravel(leaf) for leaf in moments])
      found[finished] = flat, jax.device_get(metrics)
    return found[finished]

  yield run
  assert step._cache_size() == 1


@pytest.mark.slow
def test_it_logs_the_weights_of_the_step(at):
  for finished, rise, fall in (
    (0, 0.25, 1),
    (3, 1, 1),
    (11, 1, 0.5),
    (20, 1, 0),
  ):
    factors = (fall, fall, rise, rise)
    for name, weight, factor in zip(NAMES, WEIGHTS, factors, strict=True):
      found = at(finished)[1][f"weight/{name}"]
      np.testing.assert_allclose(found, weight * factor, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(1, 3, 0), (9, 13, 11)])
def test_its_gradient_is_as_far_between_as_the_weights_are(at, steps):
  """Weights rise by half from step 1 to 3, and fall from 9 to 13."""
  (one, other, between), share = steps, 0.5
  if between == 0:  # a quarter of the weight: as far below a half as a half is
    share = -0.5
  a, b, found = (at(step)[0] for step in (one, other, between))
  assert np.linalg.norm(a - b) > 1e-3 * np.linalg.norm(a)
  np.testing.assert_allclose(
    found, a + share * (b - a), atol=1e-4 * np.max(np.abs(a))
  )


@pytest.mark.slow
def test_norms_are_those_without_weights_and_shares_those_with_them(at):
  early, late = at(0)[1], at(3)[1]
  for name in NAMES:
    np.testing.assert_allclose(
      early[f"gradient_norm/{name}"],
      late[f"gradient_norm/{name}"],
      rtol=1e-2,
      err_msg=name,
    )

  def ratio(found):
    shares = {
      n: found[f"gradient_share/loss/{n}"]
      for n in ("adversarial", "reconstruction")
    }
    return shares["adversarial"] / shares["reconstruction"]

  np.testing.assert_allclose(4 * ratio(early), ratio(late), rtol=1e-2)
  for name in NAMES[:2]:
    assert at(20)[1][f"gradient_share/{name}"] == 0


def test_a_step_of_any_kind_has_them_and_mixes_no_dtypes(small_config):
  step, arguments = _build(
    small_config(**ON, **{"loss.balancer": True, "microbatches": 2})
  )
  with jax.numpy_dtype_promotion("strict"):
    _, metrics = jax.eval_shape(step, *arguments)
  for name in NAMES:
    for group in ("weight", "gradient_norm", "gradient_share"):
      assert metrics[f"{group}/{name}"].shape == ()
