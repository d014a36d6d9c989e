"""Laws of every kind of quantizer, and of each alone."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax import config as config_lib
from soundstream_jax.model import (
  codebook,
  initialise,
  kmeans,
  quantizer,
  quantizers,
)
from soundstream_jax.model.quantizers import fsq, low_dim, projection
from soundstream_jax.settings import constraints
from soundstream_jax.settings.constraints import quantizers as rules

B, F, D, Q, K, R = 3, 16, 12, 3, 32, 8
KINDS = pytest.mark.parametrize("kind", quantizers.KINDS)


@pytest.fixture(autouse=True)
def _strict_promotion():
  with jax.numpy_dtype_promotion("strict"):
    yield


@dataclasses.dataclass(frozen=True)
class Built:
  kind: quantizers.kind_lib.Kind
  net: quantizer.ResidualQuantizer
  params: dict
  vectors: jax.Array

  @property
  def variables(self):
    return {"params": self.params, "codebooks": {"vectors": self.vectors}}

  def quantize(self, latents, **options):
    """`quantize`, compiled."""
    run = jax.jit(functools.partial(quantizer.quantize, kind=self.kind))
    return run(latents, self.vectors, self.params, **options)

  def layer(self, index):
    return {name: p[index] for name, p in self.params.items()}

  @functools.cached_property
  def table(self):
    return np.asarray(self.net.apply(self.variables, method="table"))

  @functools.cached_property
  def seen(self):
    """All of what `quantize` says of `LATENTS`, at all depths."""
    candidates = quantizer.draw_candidates(
      jax.random.key(0),
      jnp.full((B,), Q),
      num_quantizers=Q,
      num_frames=F,
      num_candidates=R,
    )
    output = self.quantize(LATENTS, candidates=candidates)
    return jax.tree.map(np.asarray, (output, candidates))


@pytest.fixture(scope="module")
def built():
  """Returns built(kind) -> random parameters, codebooks fitted to latents."""
  return {name: _build(name) for name in quantizers.KINDS}.__getitem__


def _build(name, seed=0):
  code_dim = 4 if name == "low_dim" else 8
  q = config_lib.Quantizer(
    num_quantizers=Q, codebook_size=K, kind=name, code_dim=code_dim
  )
  kind = quantizers.of(q)
  net = quantizer.ResidualQuantizer(kind, Q, K, D)
  declared = jax.eval_shape(net.init, jax.random.key(0), _latents(3))
  params = initialise.draw(declared.get("params", {}), jax.random.key(seed))
  if kind.fixed() is None:
    books = kmeans.fit_layers(
      _latents(3).reshape(-1, D),
      jax.random.key(1),
      params,
      kind=kind,
      num_quantizers=Q,
      size=K,
      iterations=3,
      frames_per_batch=float(B * F),
    )
    return Built(kind, net, params, books.vectors)
  return Built(kind, net, params, jnp.stack([kind.fixed()] * Q))


def _latents(seed):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(B, F, D)).astype(np.float32)


LATENTS = _latents(4)


def test_the_settings_know_every_kind_and_whether_it_learns():
  assert list(rules.KINDS) == list(quantizers.KINDS)
  for name, traits in rules.KINDS.items():
    kind = quantizers.of(config_lib.Quantizer(kind=name))
    assert kind.learns == traits.learns == (kind.fixed() is None)


@KINDS
def test_decoding_is_a_sum_of_table_lookups(built, kind):
  b = built(kind)
  output, _ = b.seen
  assert b.table.shape == (Q, K, D)
  looked_up = sum(b.table[i][output.codes[..., i]] for i in range(Q))
  np.testing.assert_allclose(looked_up, output.quantized, rtol=1e-5, atol=1e-5)
  dequantized = b.net.apply(b.variables, output.codes, method="dequantize")
  np.testing.assert_allclose(dequantized, looked_up, rtol=1e-5, atol=1e-5)


@KINDS
def test_latents_may_be_bfloat16(built, kind):
  b = built(kind)
  output = jax.eval_shape(b.quantize, LATENTS.astype(jnp.bfloat16))
  assert output.quantized.dtype == output.commitment.dtype == jnp.float32


@KINDS
def test_a_prefix_of_the_codes_is_what_fewer_layers_choose(built, kind):
  b, latents = built(kind), LATENTS
  full = b.seen[0].codes
  for q in (1, Q):
    prefix = b.net.apply(b.variables, latents, q, method="prefix")
    np.testing.assert_array_equal(prefix.codes, full[..., :q])
    some = b.net.apply(b.variables, full[..., :q], method="dequantize")
    limited = b.net.apply(
      b.variables, full, depth=jnp.int32(q), method="dequantize"
    )
    np.testing.assert_allclose(some, prefix.quantized, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(limited, some)


@KINDS
def test_a_depth_is_what_an_example_is_quantized_with(built, kind):
  b, latents = built(kind), LATENTS
  depths = jnp.asarray([1, 2, Q])
  output = b.quantize(latents, depths=depths)
  for row, depth in enumerate([1, 2]):
    alone = b.net.apply(
      b.variables, latents[row : row + 1], depth, method="prefix"
    )
    np.testing.assert_allclose(
      output.quantized[row], alone.quantized[0], rtol=1e-5, atol=1e-5
    )


@KINDS
def test_few_frames_get_the_codes_and_latents_of_many(built, kind):
  b, latents = built(kind), LATENTS
  whole = b.seen[0].codes
  layers = np.random.default_rng(0).integers(0, Q + 1, (B, F))
  expected = sum(
    b.table[i][whole[..., i]] * (i < layers)[..., None] for i in range(Q)
  )

  @jax.jit
  def step(kept, latents, layers):
    streams = {"method": "stream_codes", "mutable": ["prepared"]}
    codes, made = b.net.apply(b.variables | kept, latents, None, **streams)
    streams["method"] = "stream_latents"
    found, more = b.net.apply(b.variables | made, codes, layers, **streams)
    return made | more, codes, found

  kept, made = {}, []
  for here in (slice(0, 1), slice(1, 2), slice(2, 3)):
    kept, codes, found = step(
      kept, latents[:, here], jnp.asarray(layers)[:, here]
    )
    made.append(codes)
    np.testing.assert_allclose(found, expected[:, here], rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(jnp.concatenate(made, axis=1), whole[:, :3])


@KINDS
def test_every_layers_commitment_reaches_the_latents(built, kind):
  b = built(kind)
  gradients = jax.jit(jax.jacrev(lambda x: b.quantize(x).commitment))(LATENTS)
  largest = np.max(np.abs(gradients), axis=(2, 3))
  assert largest.shape == (Q, B) and np.all(largest > 0)


@KINDS
def test_every_parameter_of_every_layer_learns_and_no_vector_does(built, kind):
  b, latents = built(kind), LATENTS

  @functools.partial(jax.grad, argnums=(0, 1))
  def gradients(params, vectors):
    output = quantizer.quantize(latents, vectors, params, kind=b.kind)
    return jnp.mean(jnp.square(output.quantized - latents))

  of_params, of_vectors = jax.jit(gradients)(b.params, b.vectors)
  assert bool(of_params) == b.kind.projects
  for name, gradient in of_params.items():
    assert np.all(np.isfinite(gradient)), name
    assert np.all(np.any(gradient.reshape(Q, -1) != 0, axis=1)), name
  np.testing.assert_array_equal(of_vectors, 0)


@pytest.mark.parametrize("kind", ["low_dim", "fsq"])
def test_a_projected_layer_passes_its_code_straight_through(built, kind):
  """As if codes were what they were chosen for, and residuals what is left."""
  b, latents = built(kind), LATENTS
  codes = b.seen[0].codes
  weight = jax.random.normal(jax.random.key(5), latents.shape)

  def smooth(latents, params):
    """The same around the codes that were chosen, without choosing."""
    residual, total = latents, 0.0
    for i in range(Q):
      layer = {name: p[i] for name, p in params.items()}
      entered = b.kind.enter(layer, residual)
      moved = jax.lax.stop_gradient(b.vectors[i][codes[..., i]] - entered)
      chosen = b.kind.leave(layer, entered + moved)
      residual, total = residual - chosen, total + chosen
    return total

  def ours(latents, params):
    return quantizer.quantize(latents, b.vectors, params, kind=b.kind).quantized

  found, expected = (
    jax.jit(
      jax.grad(lambda x, p, f=f: jnp.sum(f(x, p) * weight), argnums=(0, 1))
    )(latents, b.params)
    for f in (ours, smooth)
  )
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4),
    found,
    expected,
  )


@KINDS
def test_statistics_are_of_what_entered_a_layer(built, kind):
  b, residual = built(kind), np.asarray(LATENTS)
  output, candidates = b.seen
  statistics = output.statistics
  for i in range(Q):
    codes = output.codes[..., i]
    entered = np.asarray(b.kind.enter(b.layer(i), residual))
    assert entered.shape == (B, F, b.kind.dim(D))
    one_hot = np.eye(K)[codes].reshape(-1, K)
    np.testing.assert_array_equal(statistics.counts[i], one_hot.sum(axis=0))
    np.testing.assert_allclose(
      statistics.sums[i],
      one_hot.T @ entered.reshape(B * F, -1),
      rtol=1e-4,
      atol=1e-4,
    )
    found = entered[candidates.examples[i], candidates.frames[i]]
    np.testing.assert_allclose(
      statistics.candidates[i], found, rtol=1e-4, atol=1e-5
    )
    apart = entered - np.asarray(b.vectors)[i][codes]
    np.testing.assert_allclose(
      output.commitment[i], np.mean(apart**2), rtol=1e-4
    )
    residual = residual - b.table[i][codes]


@pytest.mark.parametrize("code_dim", [1, 4, D])
def test_a_fresh_layer_takes_a_part_of_the_residual_away(code_dim):
  """Unquantized: less is left in every layer, whatever the dimension of codes."""
  net = quantizer.ResidualQuantizer(low_dim.LowDim(code_dim), 24, K, D)
  declared = jax.eval_shape(net.init, jax.random.key(0), LATENTS)["params"]
  params = initialise.draw(declared, jax.random.key(0))
  there, back = params["in_kernel"], params["out_kernel"]
  np.testing.assert_array_equal(back, np.swapaxes(there, 1, 2))
  assert params["in_bias"].shape == (24, code_dim)
  residual, left = LATENTS, [np.sum(LATENTS**2)]
  for i in range(24):
    residual = residual - residual @ there[i] @ back[i]
    left.append(np.sum(residual**2))
  assert np.all(np.diff(left) < 0)


def test_low_dim_chooses_the_largest_cosine_however_loud(built):
  b = built("low_dim")
  entered = np.asarray(_latents(6)[..., :4], np.float64)
  book = np.asarray(b.vectors[0], np.float64)
  cosine = entered @ book.T / np.linalg.norm(book, axis=-1)
  for loudness in (1e-6, 1.0, 1e6):
    codes = b.kind.nearest(jnp.float32(loudness * entered), b.vectors[0])
    np.testing.assert_array_equal(codes, np.argmax(cosine, axis=-1))


def test_low_dim_is_finite_at_silence(built):
  b = built("low_dim")
  silence = jnp.zeros((B, F, D))
  value, gradient = jax.value_and_grad(
    lambda x: jnp.sum(b.quantize(x).quantized)
  )(silence)
  assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_kmeans_of_low_dim_finds_planted_directions_and_their_lengths():
  rng = np.random.default_rng(0)
  directions = np.eye(4)[np.arange(4)]
  length = np.array([0.1, 1.0, 3.0, 10.0])[:, None]
  labels = rng.permutation(np.repeat(np.arange(4), 50))
  loud = rng.uniform(0.5, 1.5, (200, 1))
  frames = loud * (length * directions)[labels]
  frames = frames + 1e-3 * length[labels] * rng.normal(size=(200, 4))
  centres, codes = kmeans.fit(
    jnp.asarray(frames, jnp.float32),
    jax.random.key(0),
    size=4,
    iterations=10,
    kind=low_dim.LowDim(4),
  )
  for code in range(4):
    (label,) = set(labels[np.asarray(codes) == code])
    mean = frames[labels == label].mean(axis=0)
    np.testing.assert_allclose(centres[code], mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", range(1, 15))
def test_levels_of_fsq_make_every_code_of_whole_bits(bits):
  levels = fsq.levels(2**bits)
  assert math.prod(levels) == 2**bits
  assert set(levels) <= {2, 4, 8}
  assert len(levels) == max(1, bits // 2)
  assert sum(count != 4 for count in levels) <= 1


@pytest.mark.parametrize("size", [2, 8, 512])
def test_fsq_rounds_every_dimension_to_the_code_nearest_in_the_grid(size):
  kind = fsq.Fsq(size)
  grid = kind.fixed()
  assert grid.shape == (size, kind.dim(256))
  assert len(np.unique(grid, axis=0)) == size
  np.testing.assert_array_equal(np.max(np.abs(grid), axis=0), 1)
  np.testing.assert_allclose(grid.mean(axis=0), 0, atol=1e-6)
  np.testing.assert_array_equal(
    kind.nearest(jnp.asarray(grid), None), range(size)
  )
  bounded = np.random.default_rng(0).uniform(-1, 1, (500, grid.shape[1]))
  distances = np.square(bounded[:, None] - grid).sum(axis=-1)
  codes = kind.nearest(jnp.asarray(bounded, jnp.float32), None)
  np.testing.assert_array_equal(codes, distances.argmin(axis=1))


def test_counting_leaves_vectors_as_they_are(built):
  b = built("fsq")
  config = config_lib.Config(
    model=config_lib.Model(embedding_dim=D),
    quantizer=config_lib.Quantizer(
      num_quantizers=Q, codebook_size=K, kind="fsq"
    ),
  )
  books = codebook.fixed(codebook.zeros(config), b.kind)
  np.testing.assert_array_equal(books.vectors, b.vectors)
  statistics = b.seen[0].statistics
  after = codebook.count(books, statistics, decay=0.75)
  np.testing.assert_allclose(after.counts, 0.25 * statistics.counts)
  np.testing.assert_array_equal(after.vectors, books.vectors)
  np.testing.assert_array_equal(after.sums, books.sums)


def test_a_kind_without_kmeans_may_see_fewer_frames_than_codes(small_config):
  few = {"quantizer.codebook_size": 1_024, "data.crop_samples": 160}
  fixed = small_config(**few, **{"quantizer.kind": "fsq"})
  constraints.check_kmeans(fixed)
  assert constraints.kmeans_batches(fixed) == 0
  assert constraints.kmeans_batches(small_config()) == 1


def test_draws_of_dropout_are_those_that_they_always_were():
  key = jax.random.key(3)
  expected = jax.random.randint(key, (64,), 1, 25)
  np.testing.assert_array_equal(quantizer.draw_depths(key, 64, 24), expected)


def test_dropout_spares_a_share_of_the_examples_and_draws_alike_for_others():
  key, count = jax.random.key(3), 20_000
  always = np.asarray(quantizer.draw_depths(key, count, 24))
  half = np.asarray(quantizer.draw_depths(key, count, 24, probability=0.5))
  spared = half != always
  assert set(half[spared]) == {24}
  # One of 24 of those that were spared is drawn at full depth anyway.
  assert abs(spared.mean() - 0.5 * 23 / 24) < 0.02
  never = quantizer.draw_depths(key, count, 24, probability=0.0)
  np.testing.assert_array_equal(never, 24)


def test_dropout_on_chosen_depths_draws_each_of_them_alike():
  depths = quantizer.draw_depths(
    jax.random.key(3), 30_000, 24, depths=(2, 8, 24)
  )
  found, counts = np.unique(depths, return_counts=True)
  np.testing.assert_array_equal(found, (2, 8, 24))
  assert counts.min() > 9_600 and counts.max() < 10_400


class Signs(projection.Projected):
  """A fourth kind: the signs of four dimensions, K = 16."""

  learns = False

  def dim(self, embedding_dim):
    return 4

  def fixed(self):
    digits = np.arange(16)[:, None] >> np.arange(4) & 1
    return np.float32(2 * digits - 1)


def test_a_new_kind_is_one_class(monkeypatch, small_config):
  monkeypatch.setitem(quantizers.KINDS, "signs", Signs)
  monkeypatch.setitem(rules.KINDS, "signs", rules.Traits(learns=False))
  q = small_config(**{"quantizer.kind": "signs"}).quantizer
  kind = quantizers.of(q)
  net = quantizer.ResidualQuantizer(kind, Q, 16, D)
  declared = jax.eval_shape(net.init, jax.random.key(0), _latents(3))["params"]
  params = initialise.draw(declared, jax.random.key(0))
  vectors = jnp.stack([kind.fixed()] * Q)
  b = Built(kind, net, params, vectors)
  output = b.quantize(_latents(3))
  entered = kind.enter({k: p[0] for k, p in params.items()}, _latents(3))
  signs = vectors[0][output.codes[..., 0]]
  np.testing.assert_array_equal(signs, np.sign(entered))
