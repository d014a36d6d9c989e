"""Laws of k-means: it finds what is there, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from soundstream_jax.model import codebook, kmeans


@pytest.mark.parametrize("seed", range(3))
def test_kmeans_finds_planted_clusters(seed):
  rng = np.random.default_rng(seed)
  centres = rng.normal(size=(16, 6)) * 5
  labels = np.repeat(np.arange(16), 40)
  frames = centres[labels] + 0.05 * rng.normal(size=(640, 6))
  found, codes = kmeans.fit(
    jnp.asarray(rng.permutation(frames), jnp.float32),
    jax.random.key(seed),
    size=16,
    iterations=10,
  )
  distance = np.linalg.norm(centres[:, None] - np.asarray(found), axis=-1)
  assert np.max(np.min(distance, axis=1)) < 0.1
  assert np.all(np.bincount(np.asarray(codes), minlength=16) == 40)


def test_kmeans_with_fewer_distinct_frames_than_codes_stays_finite():
  frames = jnp.tile(jnp.asarray([[0.0, 0.0], [1.0, 2.0]]), (20, 1))
  centres, codes = kmeans.fit(frames, jax.random.key(0), size=8, iterations=5)
  assert np.all(np.isfinite(centres))
  np.testing.assert_allclose(np.asarray(centres)[codes], frames, atol=1e-6)


def test_every_layer_is_fitted_to_the_residuals_of_the_layers_before():
  rng = np.random.default_rng(0)
  frames = jnp.asarray(rng.normal(size=(1600, 4)), jnp.float32)
  books = kmeans.fit_layers(
    frames,
    jax.random.key(0),
    num_quantizers=4,
    size=16,
    iterations=10,
    frames_per_batch=200.0,
  )
  residual, energies = np.asarray(frames), []
  for vectors, counts in zip(
    np.asarray(books.vectors), np.asarray(books.counts), strict=True
  ):
    codes = np.argmin(
      np.sum((residual[:, None] - vectors[None]) ** 2, axis=-1), axis=1
    )
    np.testing.assert_allclose(
      counts, np.bincount(codes, minlength=16) / 8, rtol=1e-5
    )
    residual = residual - vectors[codes]
    energies.append(np.mean(residual**2))
  # Each layer of 16 codes in 4 dimensions takes half of what is left or more.
  ratios = np.asarray(energies) / np.asarray([1.0, *energies[:-1]])
  assert np.all(ratios < 0.5)


def test_fresh_codebooks_agree_with_their_moving_averages():
  rng = np.random.default_rng(0)
  frames = jnp.asarray(rng.normal(size=(400, 4)), jnp.float32)
  books = kmeans.fit_layers(
    frames,
    jax.random.key(0),
    num_quantizers=2,
    size=8,
    iterations=5,
    frames_per_batch=100.0,
  )
  np.testing.assert_allclose(
    codebook.means(books.counts, books.sums),
    books.vectors,
    rtol=1e-4,
    atol=1e-5,
  )
