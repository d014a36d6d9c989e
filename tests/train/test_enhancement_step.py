"""A step that compresses and enhances: flag in, target compared with."""

import jax
import numpy as np
import pytest

from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed
from soundstream_jax.losses import objective
from soundstream_jax.model import soundstream
from soundstream_jax.train import bad_steps, kmeans_start
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

OVERRIDES = {
  "model.film": "encoder",
  "loss.waveform_weight": 2.0,
  "data.mixture.speech": 1.0,
  "data.mixture.noisy_speech": 1.0,
  "quantizer.dropout": False,
}


def _batch(config):
  rng = np.random.default_rng(0)
  shape = (config.batch_size, config.data.crop_samples, 1)
  target = (0.2 * rng.normal(size=shape)).astype(np.float32)
  noise = (0.1 * rng.normal(size=shape)).astype(np.float32)
  flags = np.arange(config.batch_size) % 2 == 0
  audio = target + noise
  return batch_lib.Batch(
    audio, np.where(flags[:, None, None], target, audio), flags
  )


@pytest.fixture(scope="module")
def run(small_config):
  """Returns a function (**overrides) -> (config, start, step, batch)."""

  def build(**more):
    config = small_config(**OVERRIDES, **more)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
    step, (abstract, shapes) = step_lib.build(config, mesh)
    batch = _batch(config)
    assert jax.tree.structure(batch) == jax.tree.structure(shapes)
    state = state_lib.init(
      config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
    )
    state = kmeans_start.initialise(config, mesh, state, [batch.audio])
    # FiLM starts as the identity: let the flag change something.
    film = jax.tree.map(lambda leaf: leaf * 1.0, state.params["film"])
    film["scale"] = film["scale"].at[1].multiply(0.5)
    host = jax.tree.map(
      np.array, state.replace(params=state.params | {"film": film})
    )
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return (
      config,
      lambda: jax.tree.map(jax.device_put, host, shardings),
      step,
      batch,
    )

  return build


@pytest.fixture(scope="module")
def whole(run):
  return run()


def test_losses_compare_the_flagged_output_with_the_target(whole):
  config, start, step, batch = whole
  state = start()
  output = jax.jit(soundstream.from_config(config).apply)(
    soundstream.variables(state.params, state.codebooks.vectors),
    batch.audio,
    denoise=batch.denoise,
  )
  _, expected = objective.reconstruction(
    config.loss, config.audio.sample_rate_hz, batch.target, output.audio
  )
  _, metrics = step(start(), batch)
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
  # Neither the input as a target nor another flag gives the same.
  for other in (
    batch._replace(target=batch.audio),
    batch._replace(denoise=~batch.denoise),
  ):
    _, metrics = step(start(), other)
    error = float(metrics["loss/waveform"]) - float(expected["loss/waveform"])
    assert abs(error) > 1e-3


def test_microbatches_share_inputs_targets_and_flags(run, whole):
  _, start, step, batch = whole
  _, _, parts, _ = run(microbatches=2)
  after, metrics = step(start(), batch)
  split, split_metrics = parts(start(), batch)
  for name, value in metrics.items():
    np.testing.assert_allclose(
      split_metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name
    )
  np.testing.assert_array_equal(after.codebooks.counts, split.codebooks.counts)


@pytest.mark.parametrize("part", ["audio", "target"])
def test_a_bad_target_is_bad_audio(whole, part):
  _, start, step, batch = whole
  array = getattr(batch, part).copy()
  array[1, 100] = np.nan
  _, metrics = step(start(), batch._replace(**{part: array}))
  assert bad_steps.CHECKED[int(metrics["bad/term"])] == "audio"
