"""Laws of residual quantization: values, gradients, statistics, depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from soundstream_jax.model import quantizer

B, F, D, Q, K, R = 4, 10, 6, 5, 16, 8


@pytest.fixture
def latents():
  return jax.random.normal(jax.random.key(0), (B, F, D))


@pytest.fixture
def vectors():
  scale = 0.6 ** jnp.arange(Q)[:, None, None]
  return jax.random.normal(jax.random.key(1), (Q, K, D)) * scale


def _candidates(depths=(Q,) * B, key=None):
  return quantizer.draw_candidates(
    jax.random.key(0) if key is None else key,
    jnp.asarray(depths),
    num_quantizers=Q,
    num_frames=F,
    num_candidates=R,
  )


def _numpy_codes(latents, vectors):
  residual = np.asarray(latents, np.float64)
  codes = []
  for book in np.asarray(vectors, np.float64):
    distance = np.sum((residual[..., None, :] - book) ** 2, axis=-1)
    codes.append(np.argmin(distance, axis=-1))
    residual = residual - book[codes[-1]]
  return np.stack(codes, axis=-1)


def test_codes_equal_a_numpy_search(latents, vectors):
  output = quantizer.quantize(latents, vectors)
  np.testing.assert_array_equal(output.codes, _numpy_codes(latents, vectors))


def test_dequantized_codes_are_the_quantized_latents(latents, vectors):
  output = quantizer.quantize(latents, vectors)
  np.testing.assert_allclose(
    quantizer.dequantize(output.codes, vectors),
    output.quantized,
    rtol=1e-5,
    atol=1e-6,
  )


def test_one_program_dequantizes_any_number_of_layers(latents, vectors):
  """To the bit what a program of so many layers computes."""
  codes = quantizer.quantize(latents, vectors).codes
  b, f, q = export.symbolic_shape("b, f, q", constraints=[f"q <= {Q}"])
  program = export.export(jax.jit(quantizer.dequantize))(
    jax.ShapeDtypeStruct((b, f, q), codes.dtype),
    jax.ShapeDtypeStruct(vectors.shape, vectors.dtype),
  )
  for layers in range(1, Q + 1):
    np.testing.assert_array_equal(
      program.call(codes[..., :layers], vectors),
      jax.jit(quantizer.dequantize)(codes[..., :layers], vectors),
    )


def test_first_codes_do_not_depend_on_how_many_layers_follow(latents, vectors):
  full = quantizer.quantize(latents, vectors).codes
  for q in range(1, Q + 1):
    prefix = quantizer.quantize(latents, vectors[:q]).codes
    np.testing.assert_array_equal(prefix, full[..., :q])


def test_depth_limits_what_an_example_is_quantized_with(latents, vectors):
  depths = jnp.asarray([1, 2, 3, 5])
  output = quantizer.quantize(latents, vectors, depths=depths)
  for b, depth in enumerate([1, 2, 3, 5]):
    alone = quantizer.quantize(latents[b : b + 1], vectors[:depth])
    np.testing.assert_allclose(
      output.quantized[b], alone.quantized[0], rtol=1e-5, atol=1e-6
    )


def test_every_layers_commitment_reaches_the_latents(latents, vectors):
  _, pull = jax.vjp(
    lambda x: quantizer.quantize(x, vectors).commitment, latents
  )
  for layer in range(Q):
    (gradient,) = pull(jnp.zeros(Q).at[layer].set(1.0))
    assert float(jnp.min(jnp.max(jnp.abs(gradient), axis=(1, 2)))) > 0


def test_commitment_is_the_mean_square_over_active_frames(latents, vectors):
  depths = jnp.asarray([0, 2, 3, 5])
  output = quantizer.quantize(latents, vectors, depths=depths)
  codes = _numpy_codes(latents, vectors)
  residual = np.asarray(latents)
  for layer in range(Q):
    residual = residual - np.asarray(vectors)[layer][codes[..., layer]]
    active = (np.asarray(depths) > layer)[:, None, None]
    np.testing.assert_allclose(
      output.commitment[layer], np.mean(residual**2 * active), rtol=1e-5
    )


def test_straight_through_hands_the_gradient_on_exactly_once(latents, vectors):
  weight = jax.random.normal(jax.random.key(2), latents.shape)
  gradient = jax.grad(
    lambda x: jnp.sum(quantizer.quantize(x, vectors).quantized * weight)
  )(latents)
  np.testing.assert_array_equal(gradient, weight)


def test_codebooks_get_no_gradient(latents, vectors):
  def loss(vectors):
    output = quantizer.quantize(latents, vectors)
    return jnp.sum(output.quantized) + jnp.sum(output.commitment)

  np.testing.assert_array_equal(jax.grad(loss)(vectors), 0)


def test_statistics_count_and_sum_active_frames_only(latents, vectors):
  depths = jnp.asarray([1, 2, 3, 5])
  output = quantizer.quantize(
    latents, vectors, depths=depths, candidates=_candidates(depths)
  )
  codes = _numpy_codes(latents, vectors)
  counts, sums = np.zeros((Q, K)), np.zeros((Q, K, D))
  residual = np.asarray(latents)
  for layer in range(Q):
    for b in range(B):
      for f in range(F):
        if depths[b] > layer:
          counts[layer, codes[b, f, layer]] += 1
          sums[layer, codes[b, f, layer]] += residual[b, f]
    residual = residual - np.asarray(vectors)[layer][codes[..., layer]]
  np.testing.assert_array_equal(output.statistics.counts, counts)
  np.testing.assert_allclose(output.statistics.sums, sums, rtol=1e-5, atol=1e-5)


def test_candidates_are_residuals_of_active_examples(latents, vectors):
  depths = jnp.asarray([1, 5, 2, 1])
  output = quantizer.quantize(
    latents, vectors, depths=depths, candidates=_candidates(depths)
  )
  codes = _numpy_codes(latents, vectors)
  residual = np.asarray(latents)
  for layer in range(Q):
    active = residual[np.asarray(depths) > layer].reshape(-1, D)
    for candidate in np.asarray(output.statistics.candidates[layer]):
      assert np.min(np.max(np.abs(active - candidate), axis=1)) < 1e-5
    residual = residual - np.asarray(vectors)[layer][codes[..., layer]]


def test_a_layer_that_nothing_reaches_counts_nothing(latents, vectors):
  depths = jnp.asarray([1, 2, 2, 1])
  output = quantizer.quantize(
    latents, vectors, depths=depths, candidates=_candidates(depths)
  )
  assert np.all(np.sum(output.statistics.counts, axis=1)[:2] > 0)
  np.testing.assert_array_equal(output.statistics.counts[2:], 0)


def test_statistics_of_the_parts_of_a_batch_add_up_to_its_own(latents, vectors):
  """Whether the parts are microbatches or summed apart for devices."""
  depths = jnp.asarray([1, 5, 2, 3])
  candidates = _candidates(depths)
  whole = quantizer.quantize(
    latents, vectors, depths=depths, candidates=candidates
  ).statistics
  apart = quantizer.quantize(
    latents, vectors, depths=depths, candidates=candidates, replicas=2
  ).statistics
  rows = (jnp.asarray([0, 2]), jnp.asarray([1, 3]))
  halves = [
    quantizer.quantize(
      latents[r], vectors, depths=depths[r], candidates=candidates, rows=r
    ).statistics
    for r in rows
  ]
  for other in (apart, jax.tree.map(jnp.add, *halves)):
    np.testing.assert_array_equal(other.counts, whole.counts)
    np.testing.assert_array_equal(other.candidates, whole.candidates)
    np.testing.assert_allclose(other.sums, whole.sums, rtol=1e-6, atol=1e-6)


def test_dropout_depths_are_uniform_from_one_to_all():
  depths = np.asarray(quantizer.draw_depths(jax.random.key(0), 24_000, 24))
  counts = np.bincount(depths, minlength=25)
  assert counts[0] == 0
  assert counts[1:].min() > 800
  assert counts[1:].max() < 1200


def test_every_layer_gets_mass_under_dropout(latents, vectors):
  @jax.jit
  def mass(step):
    key = jax.random.fold_in(jax.random.key(0), step)
    depths = quantizer.draw_depths(key, B, Q)
    output = quantizer.quantize(
      latents, vectors, depths=depths, candidates=_candidates(depths, key)
    )
    return jnp.sum(output.statistics.counts, axis=1)

  total = np.sum([mass(step) for step in range(40)], axis=0)
  expected = 40 * B * F * (Q - np.arange(Q)) / Q
  assert np.all(total > 0.6 * expected)
  assert np.all(total < 1.5 * expected)


def test_quantizer_runs_under_strict_promotion(latents, vectors):
  with jax.numpy_dtype_promotion("strict"):
    quantizer.quantize(
      latents.astype(jnp.bfloat16), vectors, candidates=_candidates()
    )
