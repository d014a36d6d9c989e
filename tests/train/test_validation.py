"""Held-out clips give the same numbers wherever they are measured."""

import jax
import numpy as np
import pytest
import together
import validation_run

from soundstream_jax import config as config_lib
from soundstream_jax import metrics
from soundstream_jax.model import soundstream
from soundstream_jax.settings import fields
from soundstream_jax.train import validation

# A batch of eight crops is as long as two clips: so many at a time on a device.
OVERRIDES = {
  "batch_size": 8,
  "evaluation.num_clips": validation_run.CLIPS,
  "evaluation.clip_samples": 6_400,
  "quantizer.num_quantizers": 6,
}


def _config(small_config, data, fsdp, **more):
  mesh = {"mesh.data": data, "mesh.fsdp": fsdp}
  return small_config(**{**OVERRIDES, **mesh, **more})


@pytest.fixture(scope="module")
def one(small_config):
  """Measured on one device."""
  found, rows = validation_run.run(_config(small_config, 1, 1))
  assert rows == 2
  return found


def _assert_same(found, one):
  np.testing.assert_array_equal(found.codes, one.codes)
  np.testing.assert_allclose(found.shown, one.shown, rtol=1e-5, atol=1e-6)
  assert list(found.values) == list(one.values)
  for name, values in one.values.items():
    np.testing.assert_allclose(
      found.values[name], values, rtol=1e-4, atol=1e-4, err_msg=name
    )


def test_it_measures_what_the_model_does_at_each_depth(one, small_config):
  config = _config(small_config, 1, 1)
  clips = validation_run.clips(config)
  mesh = jax.make_mesh((1, 1), ("data", "fsdp"), devices=jax.devices()[:1])
  state = validation_run.fresh(config, mesh)
  net = soundstream.from_config(config)

  @jax.jit
  def reconstruct(audio):
    variables = soundstream.variables(state.ema_params, state.codebooks.vectors)
    latents = net.apply(variables, audio, method="encode")
    outputs = []
    for depth in (1, 2, 4, 6):
      quantized = net.apply(
        variables, latents, num_quantizers=depth, method="quantize"
      ).quantized
      outputs.append(net.apply(variables, quantized, method="decode"))
    return outputs

  for d, outputs in enumerate(map(np.asarray, reconstruct(clips))):
    measured = metrics.measure(clips, outputs, sample_rate_hz=24_000)
    assert set(measured) == set(one.values) == set(metrics.while_training())
    for name, values in measured.items():
      assert one.values[name].shape == (4, validation_run.CLIPS)
      np.testing.assert_allclose(
        one.values[name][d], values, rtol=1e-4, atol=1e-4, err_msg=name
      )
  np.testing.assert_allclose(
    one.shown, outputs[: validation.SHOWN], rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("mesh", [(8, 1), (2, 2)], ids=["8 x 1", "2 x 2"])
def test_more_devices_find_what_one_does_on_any_number_of_clips(
  one, small_config, mesh
):
  found, rows = validation_run.run(_config(small_config, *mesh))
  assert rows % np.prod(mesh) == 0
  assert validation_run.CLIPS % rows
  _assert_same(found, one)


def test_a_validation_holds_no_more_sound_at_a_time_than_a_microbatch(
  small_config,
):
  mesh = jax.make_mesh((2, 1), ("data", "fsdp"), devices=jax.devices()[:2])
  clips = np.zeros((104, 6_400, 1), np.float32)
  for microbatches, rows in ((1, 8), (2, 4), (4, 2), (16, 2)):
    config = _config(
      small_config, 2, 1, batch_size=32, microbatches=microbatches
    )
    assert validation.build(config, clips, mesh).rows == rows


def test_the_default_is_a_hundred_clips_that_eight_devices_share():
  clips = fields.get(config_lib.Config(), "evaluation.num_clips")
  assert clips >= 100
  assert clips % 8 == 0


@pytest.mark.slow
def test_two_processes_measure_half_each_and_both_hold_all(
  one, small_config, tmp_path
):
  task = {"config": config_lib.to_dict(_config(small_config, 4, 1))}
  found = together.find(validation_run.__file__, task, tmp_path, devices=2)
  for name, values in found[0].items():
    np.testing.assert_array_equal(values, found[1][name], err_msg=name)
  both = {name: found[0][name] for name in one.values}
  _assert_same(
    validation.Found(both, found[0]["codes"], found[0]["shown"]), one
  )
