"""Residual vector quantization: the forward pass (paper section III-C).

The module reads codebooks and returns, beside the quantized latents, the
statistics from which `codebook` learns: it never changes a codebook itself, so
a second forward cannot update twice and evaluation cannot move a code.

Gradients: the residual is taken on stopped codes, so that every layer's
commitment reaches the encoder, and one straight-through step at the end hands
the decoder's gradient to the encoder exactly once.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


@flax.struct.dataclass
class Statistics:
  """What one batch says about the codebooks, summed over active frames."""

  counts: Array  # [Q, K] frames assigned to each code
  sums: Array  # [Q, K, D] sum of the residuals assigned to each code
  candidates: Array  # [Q, R, D] residuals at random active frames
  candidates_valid: Array  # [Q] bool: the layer saw at least one example


@flax.struct.dataclass
class QuantizerOutput:
  quantized: Array  # [B, F, D] straight-through
  codes: Array  # [B, F, Q] int32; layers beyond an example's depth count too
  commitment: Array  # [Q] mean squared distance over all B * F frames and D
  statistics: Statistics | None  # None without a key


def nearest(vectors: Array, codebook: Array) -> Array:
  """Returns the index of the nearest code, ties to the lowest index.

  Args:
    vectors: [..., D].
    codebook: [K, D].

  Returns:
    int32 [...].
  """
  products = lax.dot_general(
    vectors,
    codebook,
    (((vectors.ndim - 1,), (1,)), ((), ())),
    precision=lax.Precision.HIGHEST,
  )
  norms = jnp.sum(jnp.square(codebook), axis=-1)
  norms = norms.reshape((1,) * (vectors.ndim - 1) + norms.shape)
  return jnp.argmin(norms - 2 * products, axis=-1).astype(jnp.int32)


def dequantize(codes: Array, vectors: Array) -> Array:
  """Sums the codes' vectors: codes [B, F, q], vectors [Q, K, D] -> [B, F, D].

  Fewer layers of codes than codebooks give the lower bitrate's latents.
  """
  layers = codes.shape[-1]

  def add(total, layer):
    codebook, index = layer
    return total + codebook[index], None

  start = jnp.zeros((*codes.shape[:-1], vectors.shape[-1]), vectors.dtype)
  total, _ = lax.scan(
    add, start, (vectors[:layers], jnp.moveaxis(codes, -1, 0))
  )
  return total


def draw_depths(key: Array, batch: int, num_quantizers: int) -> Array:
  """Quantizer dropout: depth per example, uniform in 1..Q (int32 [B])."""
  return jax.random.randint(key, (batch,), 1, num_quantizers + 1)


def quantize(
  latents: Array,
  vectors: Array,
  *,
  depths: Array | None = None,
  key: Array | None = None,
  num_candidates: int = 0,
) -> QuantizerOutput:
  """Quantizes latents [B, F, D] with codebooks [Q, K, D].

  Args:
    latents: encoder output.
    vectors: one codebook per layer.
    depths: int32 [B], layers that each example uses; None uses all.
    key: draws the revival candidates; None returns no statistics.
    num_candidates: R, frames per layer that dead codes may be replaced by.

  Returns:
    QuantizerOutput. All codes are computed, whatever the depth; quantized
    latents, commitment and statistics count active layers only.
  """
  batch = latents.shape[0]
  num_layers, codebook_size, _ = vectors.shape
  latents = latents.astype(vectors.dtype)
  vectors = lax.stop_gradient(vectors)
  if depths is None:
    depths = jnp.full((batch,), num_layers, jnp.int32)
  layer_index = jnp.arange(num_layers, dtype=jnp.int32)

  def layer(carry, inputs):
    residual, total = carry
    index, codebook = inputs
    stopped = lax.stop_gradient(residual)
    codes = nearest(stopped, codebook)
    chosen = codebook[codes]
    active = (depths > index).astype(vectors.dtype)[:, None, None]
    squared = jnp.square(residual - chosen) * active
    results = {"codes": codes, "squared": jnp.mean(squared, axis=(1, 2))}
    if key is not None:
      results["residuals"] = stopped
    return (residual - chosen, total + chosen * active), results

  (_, total), results = lax.scan(
    layer, (latents, jnp.zeros_like(latents)), (layer_index, vectors)
  )
  statistics = None
  if key is not None:
    statistics = _statistics(
      results["residuals"],
      results["codes"],
      depths,
      key,
      codebook_size=codebook_size,
      num_candidates=num_candidates,
    )
  return QuantizerOutput(
    quantized=latents + lax.stop_gradient(total - latents),
    codes=jnp.moveaxis(results["codes"], 0, -1),
    commitment=jnp.mean(results["squared"], axis=1),
    statistics=statistics,
  )


def _statistics(
  residuals: Array,
  codes: Array,
  depths: Array,
  key: Array,
  *,
  codebook_size: int,
  num_candidates: int,
) -> Statistics:
  """Statistics of all layers: residuals [Q, B, F, D], codes [Q, B, F].

  After the scan, though the residuals of all layers are kept for it: within,
  a batch over several devices would be summed over them once per layer.
  """
  num_layers, _, frames, dim = residuals.shape
  flat = residuals.reshape(num_layers, -1, dim)
  layer_index = jnp.arange(num_layers, dtype=jnp.int32)
  active = depths[None, :] > layer_index[:, None]
  # No code is -1: an inactive frame is assigned to none.
  codes = jnp.where(active[:, :, None], codes, -1).reshape(num_layers, -1)
  assigned = jax.nn.one_hot(codes, codebook_size, dtype=residuals.dtype)
  sums = lax.dot_general(
    assigned,
    flat,
    (((1,), (1,)), ((0,), (0,))),
    precision=lax.Precision.HIGHEST,
  )
  # Sorted by depth, the examples that reach layer i are the first ones.
  deepest_first = jnp.argsort(-depths)
  reached = jnp.sum(active, axis=1)

  def draw(index, num_reached):
    layer_key = jax.random.fold_in(key, index)
    example_key, frame_key = jax.random.split(layer_key)
    rank = jax.random.randint(
      example_key, (num_candidates,), 0, jnp.maximum(num_reached, 1)
    )
    frame = jax.random.randint(frame_key, (num_candidates,), 0, frames)
    return deepest_first[rank] * frames + frame

  places = jax.vmap(draw)(layer_index, reached)
  return Statistics(
    counts=jnp.sum(assigned, axis=1),
    sums=sums,
    candidates=jax.vmap(lambda layer, place: layer[place])(flat, places),
    candidates_valid=reached > 0,
  )


class ResidualVectorQuantizer(nn.Module):
  """Holds the codebooks, collection `codebooks`, as `vectors` [Q, K, D]."""

  num_quantizers: int
  codebook_size: int
  embedding_dim: int
  num_candidates: int
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    shape = (self.num_quantizers, self.codebook_size, self.embedding_dim)
    self.vectors = self.variable(
      "codebooks", "vectors", jnp.zeros, shape, self.dtype
    )

  def __call__(
    self,
    latents: Array,
    *,
    depths: Array | None = None,
    key: Array | None = None,
  ) -> QuantizerOutput:
    return quantize(
      latents,
      self.vectors.value,
      depths=depths,
      key=key,
      num_candidates=self.num_candidates,
    )

  def prefix(self, latents: Array, num_quantizers: int) -> QuantizerOutput:
    """Computes the first layers only."""
    return quantize(latents, self.vectors.value[:num_quantizers])

  def dequantize(self, codes: Array) -> Array:
    return dequantize(codes, self.vectors.value)
