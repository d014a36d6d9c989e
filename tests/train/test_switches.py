"""Laws of the switches that ablations turn: what is off is not computed.

The names are those of configs/sweeps/ablations.py.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import folder
from soundstream_jax.checkpoint import weights as weights_lib
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed
from soundstream_jax.model import codebook, quantizer
from soundstream_jax.settings import constraints
from soundstream_jax.train import kmeans_start, loop
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

NO_DISCRIMINATORS = {
  "discriminator.wave_scales": 0,
  "discriminator.stft_channels": 0,
}
# Of these a step without discriminators shows all there is.
OF_THE_GENERATOR = {
  "no_adversarial": NO_DISCRIMINATORS,
  "no_dropout": {"quantizer.dropout": False},
  "no_average": {"optimizer.ema_decay": 0.0},
  "no_kmeans": {"quantizer.kmeans_batches": 0},
  "no_revival": {"quantizer.revival_threshold": 0.0},
  "mel_encoder": {"model.encoder": "mel"},
}
OF_DISCRIMINATORS = {
  "no_feature": {"loss.feature_weight": 0.0},
  "wave_only": {"discriminator.stft_channels": 0},
  "stft_only": {"discriminator.wave_scales": 0},
}
SWITCHES = OF_THE_GENERATOR | OF_DISCRIMINATORS
# Other laws look at these; the others are slow.
QUICK = ("no_average", "no_kmeans", "no_revival")


def two_steps(config, *, adversarial):
  """Returns the state before, after two steps, and the metrics of both."""
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  step, (abstract, _) = step_lib.build(config, mesh, adversarial=adversarial)
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  shape = (config.batch_size, config.data.crop_samples, 1)
  audio = 0.2 * np.random.default_rng(0).standard_normal(shape)
  batch = batch_lib.Batch(audio.astype(np.float32))
  heard = [batch.audio] * config.quantizer.kmeans_batches
  state = kmeans_start.initialise(config, mesh, state, heard)
  before, metrics = jax.tree.map(np.array, state), []
  for _ in range(2):
    state, measured = step(state, batch)
    metrics.append(jax.tree.map(np.array, measured))
  return before, jax.tree.map(np.array, state), metrics


@pytest.fixture(scope="module")
def trained(small_config):
  """Returns trained(name) -> the result of `two_steps` with a switch."""
  results = {}

  def of(name):
    if name not in results:
      config = small_config(**SWITCHES[name])
      results[name] = two_steps(config, adversarial=name in OF_DISCRIMINATORS)
    return results[name]

  return of


def differs(one, other):
  return any(
    (a != b).any()
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  )


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
    for n in SWITCHES
  ],
)
def test_with_a_switch_two_steps_learn_and_stay_finite(trained, name):
  before, after, metrics = trained(name)
  for measured in metrics:
    assert measured["bad/term"] == -1
    for key, value in measured.items():
      assert np.isfinite(value).all(), key
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
  assert differs(before.params, after.params)
  assert differs(before.ema_params, after.ema_params)
  assert (before.codebooks.vectors != after.codebooks.vectors).any()
  learns = name in OF_DISCRIMINATORS
  assert learns == (metrics[0]["loss/discriminator"] > 0)
  assert learns == differs(before.disc_params, after.disc_params)


def test_the_switches_are_those_of_the_sweep():
  sweep = config_lib.load_sweep("ablations")
  found = {
    point.name: point.overrides
    for point in sweep.points(config_lib.load("tiny"))
  }
  assert {name: found[name] for name in SWITCHES} == SWITCHES


@pytest.fixture(scope="module")
def step_of(small_config):
  """Returns step_of(adversarial, **overrides) -> the step's program, in text."""

  def of(adversarial, **overrides):
    config = small_config(**overrides)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
    step, arguments = step_lib.build(config, mesh, adversarial=adversarial)
    return step.lower(*arguments).as_text()

  return of


def test_without_discriminators_no_step_computes_any(step_of):
  both = [step_of(adv, **NO_DISCRIMINATORS) for adv in (True, False)]
  assert both[0] == both[1]
  # The same program as before start_step, but for their parameters.
  assert both[0].count("stablehlo.convolution") == step_of(False).count(
    "stablehlo.convolution"
  )


@pytest.mark.parametrize(
  ("name", "networks"),
  [
    ("no_adversarial", set()),
    ("wave_only", {"wave_0"}),
    ("stft_only", {"stft"}),
    ("no_feature", {"wave_0", "stft"}),
  ],
)
def test_a_discriminator_that_is_off_has_no_parameters(
  small_config, name, networks
):
  config = small_config(**SWITCHES[name])
  state = state_lib.abstract(config)
  assert set(state.disc_params) == networks
  moments = jax.tree.leaves(state.disc_opt_state)
  of_arrays = [leaf for leaf in moments if leaf.ndim]
  assert len(of_arrays) == 2 * len(jax.tree.leaves(state.disc_params))
  if networks:
    module = state_lib.discriminator_module(config)
    audio = jax.ShapeDtypeStruct((1, 1_600, 1), jnp.float32)
    outputs = jax.eval_shape(
      lambda params, x: module.apply({"params": params}, x),
      state.disc_params,
      audio,
    )
    assert len(outputs) == len(networks)


def test_a_window_of_no_discriminator_may_be_longer_than_the_crop(small_config):
  wide = {"discriminator.stft_window": 2_048}
  with pytest.raises(errors.InputError, match=r"discriminator\.stft_window"):
    small_config(**wide)
  small_config(**wide, **SWITCHES["wave_only"])


def test_without_an_average_it_is_the_parameters_bit_for_bit(trained):
  _, after, _ = trained("no_average")
  jax.tree.map(np.testing.assert_array_equal, after.params, after.ema_params)


def test_without_revival_no_code_is_replaced(trained):
  zeros = codebook.Codebooks(
    vectors=jnp.ones((1, 4, 2)),
    counts=jnp.asarray([[0.0, 0.0, 1e-30, 8.0]]),
    sums=jnp.ones((1, 4, 2)),
  )
  seen = quantizer.Statistics(
    counts=jnp.full((1, 4), 2.0),
    sums=jnp.zeros((1, 4, 2)),
    candidates=jnp.full((1, 3, 2), 7.0),
  )
  revived = codebook.revive(zeros, seen, threshold=0.0)
  jax.tree.map(np.testing.assert_array_equal, revived, zeros)
  assert (codebook.revive(zeros, seen, threshold=0.1).vectors == 7.0).any()
  # The codes that die are counted all the same, as those of the default are.
  _, after, metrics = trained("no_revival")
  counts = after.codebooks.counts
  least = 0.1 * counts.mean(axis=1, keepdims=True)
  np.testing.assert_allclose(
    metrics[-1]["codebook/dead"], (counts < least).mean(axis=1)
  )


def test_without_kmeans_codebooks_are_random_and_their_averages_agree(
  small_config, trained
):
  config = small_config(**SWITCHES["no_kmeans"])
  before, _, _ = trained("no_kmeans")
  found = before.codebooks
  dim = config.model.embedding_dim
  assert 0.8 < np.mean(found.vectors**2) * dim / 2 < 1.2
  assert len(np.unique(found.vectors)) == found.vectors.size
  np.testing.assert_allclose(
    codebook.means(found.counts, found.sums), found.vectors, rtol=1e-5
  )
  frames = config.batch_size * 1_600 // 8
  np.testing.assert_allclose(found.counts.sum(axis=1), frames, rtol=1e-6)


def test_random_codebooks_are_the_same_on_any_number_of_devices(
  small_config, trained
):
  config = small_config(
    **SWITCHES["no_kmeans"], **{"mesh.data": 2, "mesh.fsdp": 2}
  )
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:4])
  _, (abstract, _) = step_lib.build(config, mesh)
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  many = kmeans_start.initialise(config, mesh, state, []).codebooks
  one = trained("no_kmeans")[0].codebooks
  jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, many), one)


def test_without_kmeans_there_may_be_fewer_frames_than_codes(small_config):
  many = {"quantizer.codebook_size": 1_024, "data.crop_samples": 160}
  with pytest.raises(errors.InputError, match="k-means 80 frames"):
    constraints.check_kmeans(small_config(**many))
  off = small_config(**many, **SWITCHES["no_kmeans"])
  constraints.check_kmeans(off)


# Whose state is another than that of a run of today.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["no_adversarial", "wave_only", "mel_encoder"])
def test_a_run_with_a_switch_saves_and_resumes(
  small_config, voices, saved_arrays, tmp_path, name
):
  overrides = {"data.sources": voices, "checkpoint.every_steps": 2}
  if name == "mel_encoder":
    overrides["discriminator.start_step"] = 1_000
  config = small_config(**overrides, **SWITCHES[name], num_steps=2)
  assert loop.train(config, tmp_path) == 0
  # A configuration as it was saved is the one that goes on.
  saved = config_lib.from_dict(folder.read_config(tmp_path))
  assert saved == config
  assert loop.train(dataclasses.replace(saved, num_steps=4), tmp_path) == 0
  assert folder.steps(tmp_path)[-1] == 4
  arrays = saved_arrays(tmp_path, 4)
  judged = [key for key in arrays if "disc_params" in key]
  assert bool(judged) == (name != "no_adversarial")
  restored = weights_lib.restore(tmp_path)
  assert ("encoder" in restored.params) == (name != "mel_encoder")
