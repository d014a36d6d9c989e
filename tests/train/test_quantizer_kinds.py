"""Every kind of quantizer trains, resumes, is exported, encodes and decodes.

Of 'ema' all other tests are.
"""

import dataclasses

import jax
import numpy as np
import pytest
import topology_run

import soundstream_jax
from soundstream_jax.checkpoint import exported, fitting
from soundstream_jax.checkpoint import origin as origin_lib
from soundstream_jax.devices import distributed
from soundstream_jax.train import loop
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

GENERATOR = {
  "discriminator.wave_scales": 0,
  "discriminator.stft_channels": 0,
}
KINDS = {
  "low_dim": {
    "quantizer.code_dim": 4,
    "quantizer.dropout_probability": 0.5,
    "quantizer.dropout_depths": (1, 3),
    "quantizer.bypass_probability": 0.5,
  },
  "fsq": {},
}
# The whole path of either takes as long.
EACH = pytest.mark.parametrize(
  "kind", ["low_dim", pytest.param("fsq", marks=pytest.mark.slow)]
)


def overrides(kind):
  return {**GENERATOR, "quantizer.kind": kind, **KINDS[kind]}


@pytest.fixture(scope="module")
def trained(small_config, voices, tmp_path_factory):
  """Returns trained(kind) -> (Config, workdir): two steps, resumed for two."""
  made = {}

  def train(kind):
    if kind not in made:
      config = small_config(
        **overrides(kind),
        **{"data.sources": voices, "checkpoint.every_steps": 2},
        num_steps=4,
      )
      workdir = tmp_path_factory.mktemp(kind)
      assert loop.train(dataclasses.replace(config, num_steps=2), workdir) == 0
      assert loop.train(config, workdir) == 0
      made[kind] = config, workdir
    return made[kind]

  return train


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_has_the_bits_of_one_that_was_not(
  trained, saved_arrays, tmp_path, kind
):
  config, workdir = trained(kind)
  assert loop.train(config, tmp_path) == 0
  resumed, whole = saved_arrays(workdir, 4), saved_arrays(tmp_path, 4)
  assert resumed.keys() == whole.keys()
  for name, array in whole.items():
    np.testing.assert_array_equal(resumed[name], array, err_msg=name)


@EACH
def test_training_moves_every_projection_its_average_and_its_moments(
  trained, saved_arrays, kind
):
  _, workdir = trained(kind)
  before, after = saved_arrays(workdir, 2), saved_arrays(workdir, 4)
  changed = [n for n in after if "quantizer" in n]
  # Two kernels and two biases: raw, averaged, and two moments of each.
  assert len(changed) == 16
  for name in changed:
    assert np.isfinite(after[name]).all()
    assert (before[name] != after[name]).any(), name
  (vectors,) = (n for n in after if "codebooks" in n and "vectors" in n)
  assert (before[vectors] != after[vectors]).any() == (kind != "fsq")


@EACH
def test_an_exported_model_codes_as_its_run_does(trained, tmp_path, kind):
  config, workdir = trained(kind)
  codec = soundstream_jax.load(workdir)
  exported.write(tmp_path / "model", codec.as_exported())
  same = soundstream_jax.load(tmp_path / "model")
  assert same.fingerprint == codec.fingerprint
  audio = 0.3 * np.random.default_rng(0).standard_normal(8 * 200 - 3)
  audio = audio.astype(np.float32)
  codes = codec.encode(audio)
  assert codes.shape == (200, 3) and len(np.unique(codes)) > 4
  np.testing.assert_array_equal(same.encode(audio), codes)
  one = codec.encode(audio, bitrate_bps=float(codec.bitrates[0]))
  np.testing.assert_array_equal(one, codes[:, :1])
  kept = same.from_bytes(codec.to_bytes(codes))
  np.testing.assert_array_equal(kept, codes)
  heard = codec.decode(codes)
  assert np.isfinite(heard).all() and heard.std() > 0
  np.testing.assert_array_equal(same.decode(kept), heard)
  # Codes that a frame's layers do not count are not read.
  layers = np.ones(200, np.int32)
  np.testing.assert_array_equal(
    codec.decode(codes, layers=layers), codec.decode(codes[:, :1])
  )
  assert config.quantizer.kind == kind


@pytest.mark.parametrize(
  "changes",
  [
    overrides("fsq"),
    overrides("low_dim")
    | {"quantizer.num_quantizers": 2, "quantizer.dropout_depths": ()},
  ],
  ids=["another kind", "fewer layers"],
)
def test_without_its_projections_no_codebook_is_taken(
  trained, small_config, changes
):
  """What a code stands for is in them."""
  _, workdir = trained("low_dim")
  config = small_config(**changes)
  fresh = state_lib.abstract(config)
  fit = fitting.fit(
    config,
    origin_lib.read(workdir),
    params=fresh.params,
    discriminators=fresh.disc_params,
  )
  assert len(fit.vectors) == 0
  assert set(fit.params) == set(fresh.params) - {"quantizer"}
  assert any("codebooks 1 to" in text for text in fit.fresh)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_mixes_no_dtypes(small_config, kind):
  config = small_config(**overrides(kind))
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  step, (state, batch) = step_lib.build(config, mesh)
  with jax.numpy_dtype_promotion("strict"):
    after, _ = jax.eval_shape(step, state, batch)
  for old, new in zip(
    jax.tree.leaves(state), jax.tree.leaves(after), strict=True
  ):
    assert (old.shape, old.dtype) == (new.shape, new.dtype)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_eight_devices_compute_what_one_does(small_config, voices, kind):
  """Float64, from k-means on."""

  def run(mesh):
    config = small_config(
      **overrides(kind),
      **{
        "batch_size": 8,
        "data.sources": voices,
        "optimizer.clip_norm": 0.0,
        "model.compute_dtype": "float64",
        "mesh.data": mesh[0],
        "mesh.fsdp": mesh[1],
      },
    )
    return topology_run.run(config, steps=3)

  jax.config.update("jax_enable_x64", True)
  try:
    one, many = run((1, 1)), run((4, 2))
  finally:
    jax.config.update("jax_enable_x64", False)
  assert many["split"] > one["split"] == 0
  for name, value in one.items():
    if name.startswith(("metrics/", "counts/", "vectors/", "latents/")):
      other = many[name][0] if name.startswith("vectors/") else many[name]
      value = value[0] if name.startswith("vectors/") else value
      np.testing.assert_allclose(
        other, value, rtol=1e-9, atol=1e-12, err_msg=name
      )
    elif name.startswith("codes/"):
      np.testing.assert_array_equal(many[name], value, err_msg=name)
