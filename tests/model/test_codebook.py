"""Laws of codebook learning, against references written here in numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax.model import codebook, quantizer

Q, K, D, R = 3, 8, 4, 8
DECAY = 0.9


def _statistics(rng):
  counts = rng.integers(0, 5, (Q, K)).astype(np.float32)
  sums = rng.normal(size=(Q, K, D)).astype(np.float32) * counts[..., None]
  return quantizer.Statistics(
    counts=jnp.asarray(counts),
    sums=jnp.asarray(sums),
    candidates=jnp.asarray(rng.normal(size=(Q, R, D)).astype(np.float32)),
  )


def _start(rng):
  vectors = rng.normal(size=(Q, K, D)).astype(np.float32)
  counts = np.full((Q, K), 2.0, np.float32)
  return codebook.Codebooks(
    vectors=jnp.asarray(vectors),
    counts=jnp.asarray(counts),
    sums=jnp.asarray(vectors * counts[..., None]),
  )


def test_moving_average_equals_a_numpy_reference_over_many_steps():
  rng = np.random.default_rng(0)
  books = _start(rng)
  counts = np.asarray(books.counts, np.float64)
  sums = np.asarray(books.sums, np.float64)
  for _ in range(50):
    statistics = _statistics(rng)
    books = codebook.update(books, statistics, decay=DECAY)
    counts = DECAY * counts + (1 - DECAY) * np.asarray(statistics.counts)
    sums = DECAY * sums + (1 - DECAY) * np.asarray(statistics.sums)
    total = counts.sum(axis=1, keepdims=True)
    smooth = (counts + 1e-5) / (total + K * 1e-5) * total
    np.testing.assert_allclose(books.counts, counts, rtol=1e-5)
    np.testing.assert_allclose(books.sums, sums, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
      books.vectors, sums / smooth[..., None], rtol=1e-4, atol=1e-5
    )


def test_a_layer_without_frames_keeps_all_of_its_state():
  rng = np.random.default_rng(0)
  books = _start(rng)
  statistics = _statistics(rng)
  empty = jnp.asarray([True, False, True])
  statistics = statistics.replace(
    counts=statistics.counts * empty[:, None],
    sums=statistics.sums * empty[:, None, None],
  )
  after = codebook.update(books, statistics, decay=DECAY)
  for old, new in zip(
    jax.tree.leaves(books), jax.tree.leaves(after), strict=True
  ):
    np.testing.assert_array_equal(old[1], new[1])
    assert np.any(np.asarray(old[0]) != np.asarray(new[0]))


def test_revival_resets_vectors_counts_and_sums_together():
  rng = np.random.default_rng(0)
  books = _start(rng)
  books = books.replace(counts=books.counts.at[1, 3].set(0.01))
  statistics = _statistics(rng)
  after = codebook.revive(books, statistics, threshold=0.1)
  uniform = np.mean(np.asarray(books.counts)[1])
  np.testing.assert_allclose(
    after.vectors[1, 3], statistics.candidates[1, 0], rtol=1e-6
  )
  np.testing.assert_allclose(after.counts[1, 3], uniform, rtol=1e-6)
  np.testing.assert_allclose(
    after.sums[1, 3] / after.counts[1, 3], after.vectors[1, 3], rtol=1e-5
  )
  untouched = np.ones((Q, K), bool)
  untouched[1, 3] = False
  for old, new in zip(
    jax.tree.leaves(books), jax.tree.leaves(after), strict=True
  ):
    np.testing.assert_array_equal(
      np.asarray(old)[untouched], np.asarray(new)[untouched]
    )


def test_revival_survives_the_next_update():
  rng = np.random.default_rng(0)
  books = _start(rng)
  books = books.replace(counts=books.counts.at[0, 0].set(0.0))
  statistics = _statistics(rng)
  revived = codebook.revive(books, statistics, threshold=0.1)
  unused = statistics.replace(
    counts=statistics.counts.at[0, 0].set(0.0),
    sums=statistics.sums.at[0, 0].set(0.0),
  )
  after = codebook.update(revived, unused, decay=DECAY)
  np.testing.assert_allclose(
    after.vectors[0, 0], revived.vectors[0, 0], rtol=1e-3
  )
  assert not bool(codebook.dead(after.counts, threshold=0.1)[0, 0])


def test_revival_does_not_depend_on_the_batch_size():
  rng = np.random.default_rng(0)
  books = _start(rng)
  for scale in (1e-3, 1.0, 1e3):
    scaled = books.replace(counts=books.counts * scale, sums=books.sums * scale)
    assert not np.any(codebook.dead(scaled.counts, threshold=0.1))


def test_nothing_is_revived_in_a_layer_that_saw_nothing():
  rng = np.random.default_rng(0)
  books = _start(rng)
  books = books.replace(counts=books.counts.at[:, 0].set(0.0))
  statistics = _statistics(rng)
  statistics = statistics.replace(counts=jnp.zeros_like(statistics.counts))
  after = codebook.revive(books, statistics, threshold=0.1)
  np.testing.assert_array_equal(after.vectors, books.vectors)


def test_thirty_two_planted_dead_codes_of_sixty_four_come_back():
  """The usual order (revive the vector only) leaves half of them dead."""
  rng = np.random.default_rng(0)
  centres = rng.normal(size=(64, 8)).astype(np.float32) * 3
  vectors = centres + rng.normal(size=(64, 8)).astype(np.float32) * 0.1
  vectors[32:] = 100.0  # far from all data
  counts = np.full((1, 64), 8.0, np.float32)
  books = codebook.Codebooks(
    vectors=jnp.asarray(vectors[None]),
    counts=jnp.asarray(counts),
    sums=jnp.asarray(vectors[None] * counts[..., None]),
  )

  @jax.jit
  def step(books, frames, key):
    candidates = quantizer.draw_candidates(
      key,
      jnp.ones((8,), jnp.int32),
      num_quantizers=1,
      num_frames=64,
      num_candidates=16,
    )
    output = quantizer.quantize(frames, books.vectors, candidates=candidates)
    books = codebook.update(books, output.statistics, decay=0.95)
    return codebook.revive(books, output.statistics, threshold=0.1)

  for i in range(200):
    labels = rng.integers(0, 64, (8, 64))
    noise = rng.normal(size=(8, 64, 8)).astype(np.float32) * 0.1
    books = step(books, centres[labels] + noise, jax.random.key(i))
  labels = np.repeat(np.arange(64), 16).reshape(8, 128)
  frames = centres[labels] + 0.1 * rng.normal(size=(8, 128, 8))
  codes = quantizer.quantize(
    jnp.asarray(frames, jnp.float32), books.vectors
  ).codes
  assert len(np.unique(codes)) == 64
