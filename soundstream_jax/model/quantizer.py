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
class Candidates:
  """Frames of the global batch that dead codes may be replaced by."""

  examples: Array  # [Q, R] int32, rows of the global batch
  frames: Array  # [Q, R] int32


@flax.struct.dataclass
class Statistics:
  """What a batch says about the codebooks, summed over active frames.

  A sum of these over microbatches or replicas is that of the batch.
  """

  counts: Array  # [Q, K] frames assigned to each code
  sums: Array  # [Q, K, D] sum of the residuals assigned to each code
  candidates: Array  # [Q, R, D] residuals at the candidates' frames


@flax.struct.dataclass
class QuantizerOutput:
  quantized: Array  # [B, F, D] straight-through
  codes: Array  # [B, F, Q] int32; layers beyond an example's depth count too
  commitment: Array  # [Q] mean squared distance over all B * F frames and D
  statistics: Statistics | None  # None without candidates


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


def draw_candidates(
  key: Array,
  depths: Array,
  *,
  num_quantizers: int,
  num_frames: int,
  num_candidates: int,
) -> Candidates:
  """Draws R frames per layer among the examples that reach it.

  A function of the key and of the global batch's depths alone: how the batch
  is split over devices, processes or microbatches changes nothing.

  Args:
    key: of this step.
    depths: int32 [B], the whole global batch.
    num_quantizers: Q.
    num_frames: F.
    num_candidates: R.
  """
  # Sorted by depth, the examples that reach layer i are the first ones.
  deepest_first = jnp.argsort(-depths)

  def layer(index):
    example_key, frame_key = jax.random.split(jax.random.fold_in(key, index))
    reached = jnp.sum(depths > index)
    rank = jax.random.randint(
      example_key, (num_candidates,), 0, jnp.maximum(reached, 1)
    )
    frames = jax.random.randint(frame_key, (num_candidates,), 0, num_frames)
    return Candidates(examples=deepest_first[rank], frames=frames)

  return jax.vmap(layer)(jnp.arange(num_quantizers, dtype=jnp.int32))


def quantize(
  latents: Array,
  vectors: Array,
  *,
  depths: Array | None = None,
  candidates: Candidates | None = None,
  rows: Array | None = None,
  replicas: int = 1,
) -> QuantizerOutput:
  """Quantizes latents [B, F, D] with codebooks [Q, K, D].

  Args:
    latents: encoder output.
    vectors: one codebook per layer.
    depths: int32 [B], layers that each example uses; None uses all.
    candidates: what to collect for dead codes; None returns no statistics.
    rows: int32 [B], the examples' rows in the global batch, of which they may
      be some; None counts from 0.
    replicas: devices that the batch is spread over. Each sums its share of the
      statistics, and these are added up once, after the last layer: so no layer
      waits for another device.

  Returns:
    QuantizerOutput. All codes are computed, whatever the depth; quantized
    latents, commitment and statistics count active layers only.
  """
  batch = latents.shape[0]
  num_layers, codebook_size, dim = vectors.shape
  latents = latents.astype(vectors.dtype)
  vectors = lax.stop_gradient(vectors)
  if depths is None:
    depths = jnp.full((batch,), num_layers, jnp.int32)
  if rows is None:
    rows = jnp.arange(batch, dtype=jnp.int32)

  def layer(carry, inputs):
    residual, total = carry
    index, codebook, wanted = inputs
    codes = nearest(lax.stop_gradient(residual), codebook)
    chosen = codebook[codes]
    active = (depths > index).astype(vectors.dtype)[:, None, None]
    squared = jnp.square(residual - chosen) * active
    results = {
      "codes": codes,
      "commitment": jnp.mean(squared, axis=(1, 2)),
    }
    if wanted is not None:
      frozen = lax.stop_gradient(residual)
      assigned = jax.nn.one_hot(codes, codebook_size, dtype=vectors.dtype)
      assigned = (assigned * active).reshape(replicas, -1, codebook_size)
      results["counts"] = jnp.sum(assigned, axis=1)
      results["sums"] = lax.dot_general(
        assigned,
        frozen.reshape(replicas, -1, dim),
        (((1,), (1,)), ((0,), (0,))),
        precision=lax.Precision.HIGHEST,
      )
      here = rows[:, None] == wanted.examples[None, :]
      found = jnp.where(here[:, :, None], frozen[:, wanted.frames], 0)
      found = found.reshape(replicas, -1, *found.shape[1:])
      results["candidates"] = jnp.sum(found, axis=1)
    return (residual - chosen, total + chosen * active), results

  (_, total), results = lax.scan(
    layer,
    (latents, jnp.zeros_like(latents)),
    (jnp.arange(num_layers, dtype=jnp.int32), vectors, candidates),
  )
  statistics = None
  if candidates is not None:
    statistics = Statistics(
      counts=jnp.sum(results["counts"], axis=1),
      sums=jnp.sum(results["sums"], axis=1),
      candidates=jnp.sum(results["candidates"], axis=1),
    )
  return QuantizerOutput(
    quantized=latents + lax.stop_gradient(total - latents),
    codes=jnp.moveaxis(results["codes"], 0, -1),
    commitment=jnp.mean(results["commitment"], axis=1),
    statistics=statistics,
  )


class ResidualVectorQuantizer(nn.Module):
  """Holds the codebooks, collection `codebooks`, as `vectors` [Q, K, D]."""

  num_quantizers: int
  codebook_size: int
  embedding_dim: int
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    shape = (self.num_quantizers, self.codebook_size, self.embedding_dim)
    self.vectors = self.variable(
      "codebooks", "vectors", jnp.zeros, shape, self.dtype
    )

  def __call__(self, latents: Array, **options) -> QuantizerOutput:
    """`quantize` with these codebooks and its options."""
    return quantize(latents, self.vectors.value, **options)

  def prefix(self, latents: Array, num_quantizers: int) -> QuantizerOutput:
    """Computes the first layers only."""
    return quantize(latents, self.vectors.value[:num_quantizers])

  def stream_codes(self, latents: Array, num_quantizers: int | None) -> Array:
    """Latents [B, F, D] -> codes [B, F, q] of the first q layers, for few F.

    The time of a few frames is that of reading the codebooks, so each is kept
    as an array of its own, [D, K], with its norms, and read once.
    """
    if not self.has_variable("prepared", "codebooks"):
      norms = jnp.sum(jnp.square(self.vectors.value), axis=-1)[:, None, None]
      books = [book.T for book in self.vectors.value]
      self.put_variable("prepared", "codebooks", (books, norms))
    books, norms = self.get_variable("prepared", "codebooks")
    residual, codes = latents.astype(self.dtype), []
    for layer, book in enumerate(books[:num_quantizers]):
      products = lax.dot_general(
        residual, book, (((2,), (0,)), ((), ())), precision="highest"
      )
      codes.append(_first_smallest(norms[layer] - 2 * products))
      residual -= self.vectors.value[layer, codes[-1]]
    return jnp.stack(codes, axis=-1)

  def stream_latents(self, codes: Array, layers: Array) -> Array:
    """Codes [B, F, q] -> latents [B, F, D], reading the codes' vectors alone.

    Args:
      layers: int32 [B, F], how many of a frame's q codes count.
    """
    order = jnp.arange(codes.shape[-1]).reshape((1, 1, -1))
    chosen = self.vectors.value[order, codes]
    counts = (order < layers[..., None])[..., None]
    chosen = jnp.where(counts, chosen, jnp.zeros_like(chosen))
    total = jnp.zeros_like(chosen[..., 0, :])
    for layer in range(codes.shape[-1]):
      total += chosen[..., layer, :]
    return total

  def dequantize(self, codes: Array) -> Array:
    return dequantize(codes, self.vectors.value)


def _first_smallest(x: Array) -> Array:
  """jnp.argmin over the last axis, in two passes that XLA vectorises."""
  larger = x > jnp.min(x, axis=-1, keepdims=True)
  places = lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
  return jnp.min(jnp.where(larger, x.shape[-1], places), axis=-1)
