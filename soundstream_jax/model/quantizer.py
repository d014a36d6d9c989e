"""Residual quantization: the forward pass (paper section III-C).

How a layer chooses a code, and what that stands for, is a `quantizers.kind`;
here is what all kinds share. The module reads codebooks and returns, beside the
quantized latents, the statistics from which `codebook` learns: it never changes a
codebook itself, so a second forward cannot update twice and evaluation cannot move
a code.

Gradients: vectors are stopped. Without projections the residual is taken on
stopped codes, so that every layer's commitment reaches the encoder, and one
straight-through step at the end hands the decoder's gradient to the encoder
exactly once. With projections every layer passes its code straight through, so
that both learn, and the encoder hears of the decoder through them alone.
"""

import types
from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from soundstream_jax.model.quantizers import ema
from soundstream_jax.model.quantizers import kind as kind_lib

Array = jax.Array

# Of functions that are called with vectors alone.
_VECTORS = ema.Ema()


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
  sums: Array  # [Q, K, C] sum of the entered residuals assigned to each code
  candidates: Array  # [Q, R, C] entered residuals at the candidates' frames


@flax.struct.dataclass
class QuantizerOutput:
  quantized: Array  # [B, F, D] straight-through
  codes: Array  # [B, F, Q] int32; layers beyond an example's depth count too
  commitment: Array  # [Q] mean squared distance over all B * F frames and C
  statistics: Statistics | None  # None without candidates


def dequantize(codes: Array, table: Array) -> Array:
  """Sums what codes stand for: codes [B, F, q], table [Q, K, D] -> [B, F, D].

  Fewer layers of codes than codebooks give the lower bitrate's latents. B, F and
  q may be symbolic (`jax.export`).
  """
  layers = codes.shape[-1]

  def add(total, layer):
    codebook, index = layer
    return total + codebook[index], None

  def add_at(index, total):
    layer = lax.dynamic_index_in_dim(codes, index, axis=-1, keepdims=False)
    return add(total, (table[index], layer))[0]

  start = jnp.zeros((*codes.shape[:-1], table.shape[-1]), table.dtype)
  if not isinstance(layers, int):
    # A scan wants a number of steps; the same sums, in the same order.
    return lax.fori_loop(0, layers, add_at, start)
  total, _ = lax.scan(add, start, (table[:layers], jnp.moveaxis(codes, -1, 0)))
  return total


def draw_depths(
  key: Array,
  batch: int,
  num_quantizers: int,
  *,
  probability: float = 1.0,
  depths: Sequence[int] = (),
) -> Array:
  """Quantizer dropout: depth per example (int32 [B]).

  Args:
    key: of this step.
    batch: B.
    num_quantizers: Q.
    probability: with which an example has its depth drawn; others have all.
    depths: that are drawn, all alike; empty is 1..Q.
  """
  if depths:
    which = jax.random.randint(key, (batch,), 0, len(depths))
    drawn = jnp.asarray(depths, jnp.int32)[which]
  else:
    drawn = jax.random.randint(key, (batch,), 1, num_quantizers + 1)
  if probability == 1:
    return drawn
  # Of a key of its own, so that depths are the same at any probability.
  chosen = jax.random.bernoulli(
    jax.random.fold_in(key, 1), probability, (batch,)
  )
  return jnp.where(chosen, drawn, num_quantizers)


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
  params: kind_lib.Params = types.MappingProxyType({}),
  *,
  kind: kind_lib.Kind = _VECTORS,
  depths: Array | None = None,
  candidates: Candidates | None = None,
  rows: Array | None = None,
  replicas: int = 1,
) -> QuantizerOutput:
  """Quantizes latents [B, F, D] with codebooks [Q, K, C].

  Args:
    latents: encoder output.
    vectors: one codebook per layer.
    params: of the kind, each [Q, ...].
    kind: how codes are chosen.
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
    index, codebook, of_layer, wanted = inputs
    entered = kind.enter(of_layer, residual)
    codes = kind.nearest(lax.stop_gradient(entered), codebook)
    code = codebook[codes]
    active = (depths > index).astype(vectors.dtype)[:, None, None]
    squared = jnp.square(entered - code) * active
    results = {
      "codes": codes,
      "commitment": jnp.mean(squared, axis=(1, 2)),
    }
    if wanted is not None:
      frozen = lax.stop_gradient(entered)
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
    if kind.projects:
      code = entered + lax.stop_gradient(code - entered)
    chosen = kind.leave(of_layer, code)
    return (residual - chosen, total + chosen * active), results

  (_, total), results = lax.scan(
    layer,
    (latents, jnp.zeros_like(latents)),
    (
      jnp.arange(num_layers, dtype=jnp.int32),
      vectors,
      dict(params),
      candidates,
    ),
  )
  statistics = None
  if candidates is not None:
    statistics = Statistics(
      counts=jnp.sum(results["counts"], axis=1),
      sums=jnp.sum(results["sums"], axis=1),
      candidates=jnp.sum(results["candidates"], axis=1),
    )
  if not kind.projects:
    total = latents + lax.stop_gradient(total - latents)
  return QuantizerOutput(
    quantized=total,
    codes=jnp.moveaxis(results["codes"], 0, -1),
    commitment=jnp.mean(results["commitment"], axis=1),
    statistics=statistics,
  )


class ResidualQuantizer(nn.Module):
  """Holds codebooks and, of kinds with projections, parameters of all layers.

  Collection `codebooks` has `vectors` [Q, K, C], `params` what the kind names,
  each [Q, ...].
  """

  kind: kind_lib.Kind
  num_quantizers: int
  codebook_size: int
  embedding_dim: int
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    layers, dim = self.num_quantizers, self.embedding_dim
    shape = (layers, self.codebook_size, self.kind.dim(dim))
    self.vectors = self.variable(
      "codebooks", "vectors", jnp.zeros, shape, self.dtype
    )
    self.layers = {
      name: self.param(name, p.initializer, (layers, *p.shape), self.dtype)
      for name, p in self.kind.parameters(dim).items()
    }

  def __call__(self, latents: Array, **options) -> QuantizerOutput:
    """`quantize` with these codebooks and its options."""
    return quantize(
      latents, self.vectors.value, self.layers, kind=self.kind, **options
    )

  def prefix(self, latents: Array, num_quantizers: int) -> QuantizerOutput:
    """Computes the first layers only."""
    params = {name: p[:num_quantizers] for name, p in self.layers.items()}
    vectors = self.vectors.value[:num_quantizers]
    return quantize(latents, vectors, params, kind=self.kind)

  def table(self) -> Array:
    """Returns what codes stand for, [Q, K, D]."""
    return jax.vmap(self.kind.leave)(self.layers, self.vectors.value)

  def dequantize(self, codes: Array, *, depth: Array | None = None) -> Array:
    """Codes [B, F, q] -> latents [B, F, D] of all, or of the first `depth`."""
    table = self.table()
    if depth is not None:
      # One program for every depth: what lies beyond it adds zeros.
      order = jnp.arange(len(table))[:, None, None]
      table = jnp.where(order < depth, table, jnp.zeros_like(table))
    return dequantize(codes, table)

  def stream_codes(self, latents: Array, num_quantizers: int | None) -> Array:
    """Latents [B, F, D] -> codes [B, F, q] of the first q layers, for few F."""
    if not self.has_variable("prepared", "codebooks"):
      found = self.kind.prepared(self.vectors.value)
      self.put_variable("prepared", "codebooks", found)
    prepared, table = self.get_variable("prepared", "codebooks"), self._table()
    residual, codes = latents.astype(self.dtype), []
    for layer in range(self.num_quantizers)[:num_quantizers]:
      params = {name: p[layer] for name, p in self.layers.items()}
      entered = self.kind.enter(params, residual)
      codes.append(self.kind.nearest_of_few(entered, prepared, layer))
      residual -= table[layer, codes[-1]]
    return jnp.stack(codes, axis=-1)

  def stream_latents(self, codes: Array, layers: Array) -> Array:
    """Codes [B, F, q] -> latents [B, F, D], reading what codes stand for alone.

    Args:
      layers: int32 [B, F], how many of a frame's q codes count.
    """
    order = jnp.arange(codes.shape[-1]).reshape((1, 1, -1))
    chosen = self._table()[order, codes]
    counts = (order < layers[..., None])[..., None]
    chosen = jnp.where(counts, chosen, jnp.zeros_like(chosen))
    total = jnp.zeros_like(chosen[..., 0, :])
    for layer in range(codes.shape[-1]):
      total += chosen[..., layer, :]
    return total

  def _table(self) -> Array:
    """`table` of a stream, which projects all vectors once."""
    if not self.kind.projects:
      return self.vectors.value
    if not self.has_variable("prepared", "table"):
      self.put_variable("prepared", "table", self.table())
    return self.get_variable("prepared", "table")
