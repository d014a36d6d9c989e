"""Laws of the training step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import rng
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed
from soundstream_jax.losses import objective
from soundstream_jax.model import quantizer, soundstream
from soundstream_jax.train import bad_steps, kmeans_start, optimizer
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib


def _batch(config, seed=0):
  shape = (config.batch_size, config.data.crop_samples, 1)
  noise = np.random.default_rng(seed).normal(size=shape)
  return batch_lib.Batch((0.2 * noise).astype(np.float32))


def _built(config):
  """Returns (step, fresh state after k-means); the step donates its state."""
  mesh = distributed.make_mesh(config.mesh, jax.devices()[: _size(config)])
  step, (abstract, _) = step_lib.build(config, mesh)
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  batches = [_batch(config).audio] * config.quantizer.kmeans_batches
  return step, kmeans_start.initialise(config, mesh, state, batches)


def _size(config):
  return max(1, config.mesh.data) * config.mesh.fsdp


def _copy(tree):
  return jax.tree.map(lambda leaf: np.array(leaf), tree)


# Without clipping, Adam's first moments show the gradients.
OVERRIDES = {"optimizer.clip_norm": 0.0}


@pytest.fixture(scope="module")
def small(small_config):
  config = small_config(**OVERRIDES)
  step, state = _built(config)
  host = _copy(state)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, state)

  def fresh():
    return jax.tree.map(jax.device_put, host, shardings)

  return config, step, fresh


def test_a_step_mixes_no_dtypes(small):
  config, step, fresh = small
  with jax.numpy_dtype_promotion("strict"):
    step.trace(fresh(), _batch(config))


def test_a_step_changes_everything_that_learns(small):
  config, step, fresh = small
  before = _copy(fresh())
  after, metrics = step(fresh(), _batch(config))
  after = _copy(after)
  assert after.step == 1
  assert metrics["bad/term"] == -1
  for name in ("params", "disc_params", "ema_params"):
    old, new = getattr(before, name), getattr(after, name)
    for path, leaf in jax.tree_util.tree_leaves_with_path(old):
      other = new
      for key in path:
        other = other[key.key]
      # As long as all logits lie within the hinge, real and decoded audio pull
      # at their bias equally.
      if [key.key for key in path[-2:]] == ["logits", "bias"]:
        continue
      assert np.any(leaf != other), jax.tree_util.keystr(path)
  assert np.any(before.codebooks.vectors != after.codebooks.vectors)


def test_the_loop_does_not_recompile(small):
  config, step, fresh = small
  state = fresh()
  sizes = step._cache_size()
  for seed in range(3):
    state, _ = step(state, _batch(config, seed))
  assert step._cache_size() == sizes


def test_a_step_is_a_pure_function_of_state_and_batch(small):
  config, step, fresh = small
  once, _ = step(fresh(), _batch(config))
  again, _ = step(fresh(), _batch(config))
  for a, b in zip(
    jax.tree.leaves(_copy(once)), jax.tree.leaves(_copy(again)), strict=True
  ):
    np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def instrumented(small):
  """The step with a probe: (run, faults, seen).

  `faults` names the place where the next run meets a NaN; `seen` holds the
  generator's gradient of the last run. One compilation serves every place.
  """
  config, _, fresh = small
  quiet = dataclasses.replace(
    config, quantizer=dataclasses.replace(config.quantizer, dropout=False)
  )
  faults, seen = [""], {}

  def poisoned(place, array):
    wanted = jax.pure_callback(
      lambda: np.float32(np.nan if faults[0] == place else 0.0),
      jax.ShapeDtypeStruct((), np.float32),
    )
    return array.at[(0,) * array.ndim].add(wanted)

  encode = soundstream.SoundStream.encode
  named = step_lib._named_gradient

  def probed_encode(self, audio, *, denoise=None):
    return poisoned("latents", encode(self, audio, denoise=denoise))

  def probed_gradient(name, gradient):
    gradient = named(name, gradient)
    if name == "generator":
      jax.debug.callback(lambda g: seen.update(gradient=_copy(g)), gradient)
    leaves, treedef = jax.tree.flatten(gradient)
    leaves[0] = poisoned(f"{name} gradient", leaves[0])
    return jax.tree.unflatten(treedef, leaves)

  mesh = distributed.make_mesh(quiet.mesh, jax.devices()[:1])
  step = jax.jit(step_lib._step_function(quiet, mesh))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(soundstream.SoundStream, "encode", probed_encode)
    patch.setattr(step_lib, "_named_gradient", probed_gradient)
    step(fresh(), _batch(config))  # traced with the probes

  def run(place=""):
    faults[0] = place
    state, metrics = jax.block_until_ready(step(fresh(), _batch(config)))
    jax.effects_barrier()
    return state, metrics

  return run, seen


def test_every_generator_parameter_gets_the_gradient_of_all_losses(
  small, instrumented
):
  """The pulled-back gradient equals plain autodiff of the whole objective."""
  config, _, fresh = small
  run, seen = instrumented
  state, audio = fresh(), jnp.asarray(_batch(config).audio)
  net = soundstream.from_config(config)
  discriminators = state_lib.discriminator_module(config)

  def loss(params):
    output = net.apply(
      soundstream.variables(params, state.codebooks.vectors), audio
    )
    rate = config.audio.sample_rate_hz
    rec, _ = objective.reconstruction(config.loss, rate, audio, output.audio)
    commit, _ = objective.commitment(config.loss, output.commitment)
    real = discriminators.apply({"params": state.disc_params}, audio)
    fake = discriminators.apply({"params": state.disc_params}, output.audio)
    adv, _ = objective.adversarial(config.loss, real, fake)
    return rec + commit + adv

  expected = jax.jit(jax.grad(loss))(state.params)
  run()
  flat = jax.tree_util.tree_leaves_with_path(expected)
  scale = max(float(jnp.max(jnp.abs(leaf))) for _, leaf in flat)
  for (path, a), b in zip(flat, jax.tree.leaves(seen["gradient"]), strict=True):
    assert np.any(b != 0), jax.tree_util.keystr(path)
    np.testing.assert_allclose(
      b, a, rtol=1e-3, atol=1e-5 * scale, err_msg=jax.tree_util.keystr(path)
    )


def _assert_only_counters_moved(before, after):
  assert after.step == before.step + 1
  assert after.bad_steps == before.bad_steps + 1
  frozen = {"step": 0, "bad_steps": 0}
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(before.replace(**frozen)),
    jax.tree.leaves(after.replace(**frozen)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_audio_changes_nothing_but_the_counters(small, value):
  config, step, fresh = small
  batch = _batch(config)
  batch.audio[1, 100] = value
  after, metrics = step(fresh(), batch)
  _assert_only_counters_moved(_copy(fresh()), _copy(after))
  assert bad_steps.CHECKED[int(metrics["bad/term"])] == "audio"
  recovered, metrics = step(after, _batch(config))
  assert int(metrics["bad/term"]) == -1
  assert int(recovered.bad_steps) == 0


@pytest.mark.parametrize(
  "where", ["latents", "generator gradient", "discriminator gradient"]
)
def test_a_bad_value_inside_changes_nothing_but_the_counters(
  small, instrumented, where
):
  _, _, fresh = small
  run, _ = instrumented
  after, metrics = run(where)
  _assert_only_counters_moved(_copy(fresh()), _copy(after))
  assert bad_steps.CHECKED[int(metrics["bad/term"])] == where


def test_without_an_adversary_the_discriminators_rest(small):
  config, _, fresh = small
  mesh = distributed.make_mesh(config.mesh)
  step, _ = step_lib.build(config, mesh, adversarial=False)
  before = _copy(fresh())
  after, metrics = step(fresh(), _batch(config))
  assert float(metrics["loss/adversarial"]) == 0
  for name in ("disc_params", "disc_opt_state"):
    for a, b in zip(
      jax.tree.leaves(getattr(before, name)),
      jax.tree.leaves(getattr(after, name)),
      strict=True,
    ):
      np.testing.assert_array_equal(a, b)
  for a, b in zip(
    jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True
  ):
    assert np.any(a != b)


def _gradients(state, config):
  """Of both networks, from Adam's first moments after its first step."""
  assert config.optimizer.clip_norm == 0
  scale = 1 - config.optimizer.beta1
  return {
    name: jax.tree.map(lambda leaf: np.asarray(leaf) / scale, tree[0][0].mu)
    for name, tree in (
      ("generator", state.opt_state),
      ("discriminator", state.disc_opt_state),
    )
  }


def _assert_close(ours, theirs, tolerance):
  """Every array to a share of the largest value of its network."""
  for name, tree in theirs.items():
    scale = max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(tree))
    for (path, a), b in zip(
      jax.tree_util.tree_leaves_with_path(tree),
      jax.tree.leaves(ours[name]),
      strict=True,
    ):
      np.testing.assert_allclose(
        b,
        a,
        rtol=tolerance,
        atol=tolerance * scale,
        err_msg=name + jax.tree_util.keystr(path),
      )


@pytest.fixture(scope="module")
def whole(small):
  """One step of the whole batch at once: (state, metrics)."""
  config, step, fresh = small
  return step(fresh(), _batch(config))


@pytest.mark.parametrize(
  "how",
  [
    pytest.param({"microbatches": 4}, marks=pytest.mark.slow),
    {"microbatches": 2, "rematerialise": True},
  ],
  ids=["examples one by one", "pairs, activations computed again"],
)
def test_saving_memory_changes_no_gradient_and_no_count(
  small, whole, small_config, how
):
  _, _, fresh = small
  config = small_config(**OVERRIDES, **how)
  step, _ = step_lib.build(
    config, distributed.make_mesh(config.mesh, jax.devices()[:1])
  )
  after, metrics = step(fresh(), _batch(config))
  expected, expected_metrics = whole
  _assert_close(
    _gradients(after, config), _gradients(expected, config), tolerance=1e-5
  )
  np.testing.assert_array_equal(
    after.codebooks.counts, expected.codebooks.counts
  )
  for name, value in _copy(expected_metrics).items():
    np.testing.assert_allclose(
      metrics[name], value, rtol=1e-5, atol=1e-6, err_msg=name
    )


def test_four_devices_compute_what_one_does(small, whole, small_config):
  """Losses and statistics of one step from one state; codes may tie."""
  _, _, fresh = small
  one, expected = whole
  wide = small_config(**OVERRIDES, **{"mesh.data": 2, "mesh.fsdp": 2})
  mesh = distributed.make_mesh(wide.mesh, jax.devices()[:4])
  wide_step, (abstract, _) = step_lib.build(wide, mesh)
  state = jax.tree.map(
    lambda leaf, like: jax.device_put(np.asarray(leaf), like.sharding),
    fresh(),
    abstract,
  )
  four, metrics = wide_step(state, _batch(wide))
  for name, value in _copy(expected).items():
    np.testing.assert_allclose(
      metrics[name], value, rtol=1e-3, atol=1e-5, err_msg=name
    )
  np.testing.assert_allclose(
    four.codebooks.counts, one.codebooks.counts, atol=0.02
  )


def test_fresh_state_equals_what_the_optimizers_would_make(small_config):
  config = small_config()
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  _, (abstract, _) = step_lib.build(config, mesh)
  state = state_lib.init(
    config, jax.tree.map(lambda leaf: leaf.sharding, abstract)
  )
  generator, discriminator = optimizer.build(config)
  for ours, theirs in (
    (state.opt_state, generator.init(state.params)),
    (state.disc_opt_state, discriminator.init(state.disc_params)),
  ):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(
      jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True
    ):
      np.testing.assert_array_equal(a, b)


def test_averaging_starts_fast_and_ends_at_its_decay():
  old, new = {"w": jnp.asarray([1.0])}, {"w": jnp.asarray([2.0])}
  for t, rate in ((0, 0.1), (90, 0.91), (10_000, 0.99)):
    average = optimizer.average(old, new, jnp.int32(t), decay=0.99)
    np.testing.assert_allclose(
      average["w"], rate * 1.0 + (1 - rate) * 2.0, rtol=1e-5
    )


def test_kmeans_with_fewer_frames_than_codes_stops_with_the_numbers(
  small_config,
):
  config = small_config(
    **{"quantizer.codebook_size": 1024, "data.crop_samples": 800}
  )
  with pytest.raises(ValueError, match=r"400 frames for 1024 codes.*=3"):
    kmeans_start.check(config)


def test_norms_of_the_losses_are_those_of_autodiff(small, whole):
  """Each loss's gradient at the decoded audio, as a mean over examples."""
  config, _, fresh = small
  state, audio = fresh(), jnp.asarray(_batch(config).audio)
  _, metrics = whole
  net = soundstream.from_config(config)
  discriminators = state_lib.discriminator_module(config)
  root = rng.root(config.seed)
  depths = quantizer.draw_depths(
    rng.stream(root, "quantizer_dropout", 0),
    config.batch_size,
    config.quantizer.num_quantizers,
  )
  variables = soundstream.variables(state.params, state.codebooks.vectors)
  recon = net.apply(variables, audio, depths=depths).audio

  def loss(name, x):
    if name in objective.RECONSTRUCTION:
      measure = objective.RECONSTRUCTION[name].measure
      return measure(config.loss, config.audio.sample_rate_hz, audio, x)[name]
    real, fake = (
      discriminators.apply({"params": state.disc_params}, y) for y in (audio, x)
    )
    return objective.ADVERSARIAL[name].measure(real, fake)

  weights = {
    "loss/reconstruction": config.loss.reconstruction_weight,
    "loss/adversarial": config.loss.adversarial_weight,
    "loss/feature": config.loss.feature_weight,
  }
  applied = {}
  for name, weight in weights.items():
    gradient = jax.jit(jax.grad(functools.partial(loss, name)))(recon)
    norms = np.linalg.norm(np.asarray(gradient)[:, :, 0], axis=1)
    norm = config.batch_size * np.mean(norms)
    np.testing.assert_allclose(
      metrics[f"gradient_norm/{name}"], norm, rtol=1e-3, err_msg=name
    )
    applied[name] = weight * norm
  for name, norm in applied.items():
    np.testing.assert_allclose(
      metrics[f"gradient_share/{name}"],
      norm / sum(applied.values()),
      rtol=1e-3,
      err_msg=name,
    )


def test_to_measure_norms_for_the_log_changes_no_bit(
  small, whole, small_config
):
  _, _, fresh = small
  config = small_config(**OVERRIDES, **{"logging.every_steps": 2})
  step, _ = step_lib.build(
    config, distributed.make_mesh(config.mesh, jax.devices()[:1])
  )
  after, metrics = step(fresh(), _batch(config))
  expected, expected_metrics = whole
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(expected),
    jax.tree.leaves(after),
    strict=True,
  ):
    np.testing.assert_array_equal(b, a, err_msg=jax.tree_util.keystr(path))
  for name, value in expected_metrics.items():
    if name in ("gradient_norm/loss/adversarial", "gradient_norm/loss/feature"):
      assert np.isnan(metrics[name])
    elif not name.startswith("gradient_share/"):
      np.testing.assert_array_equal(metrics[name], value, err_msg=name)
