"""The residual quantizer as ONNX operators: latents to codes, codes to latents.

See `model.quantizer` and `model.quantizers`: a kind of quantizer is a line of
NEAREST here.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.export import trace
from soundstream_jax.export.onnx import graph as graph_lib
from soundstream_jax.model import quantizers, soundstream
from soundstream_jax.model.quantizers import fsq, low_dim

Graph = graph_lib.Graph


@dataclasses.dataclass(frozen=True, eq=False)
class Quantizer:
  """All layers of a model's quantizer.

  Attributes:
    kind: of config.quantizer.
    projects: whether codes have a space of their own.
    vectors: [Q, K, C] of the codebooks, as distances to them are computed.
    params: of the kind, each [Q, ...].
    table: what codes stand for, [Q, K, D].
  """

  kind: str
  projects: bool
  vectors: np.ndarray
  params: dict[str, np.ndarray]
  table: np.ndarray

  @classmethod
  def of(cls, config: config_lib.Config, variables: dict) -> "Quantizer":
    """Reads that of a model, of `soundstream.variables`."""
    kind = quantizers.of(config.quantizer)
    vectors = kind.placed(jnp.asarray(soundstream.vectors(variables)))
    params = variables["params"].get("quantizer", {})
    return cls(
      config.quantizer.kind,
      kind.projects,
      np.asarray(vectors),
      {name: np.asarray(array) for name, array in params.items()},
      trace.table(config, variables),
    )

  @property
  def num_layers(self) -> int:
    return len(self.table)

  @property
  def codebook_size(self) -> int:
    return self.table.shape[1]

  @property
  def dim(self) -> int:
    """D."""
    return self.table.shape[2]


def quantize(graph: Graph, quantizer: Quantizer, latents: str) -> str:
  """Adds all layers: latents [B, D, 1, F] -> codes int64 [Q, B, F].

  Every codebook is stored once: its products are those of Gemm, which takes it
  as rows, as Gather does.
  """
  residual = graph.add("Transpose", latents, perm=[0, 3, 1, 2])
  residual = graph.reshape(residual, -1, quantizer.dim)
  codes = []
  for layer in range(quantizer.num_layers):
    nearest = NEAREST[quantizer.kind]
    code, book = nearest(graph, quantizer, layer, residual)
    codes.append(code)
    if layer + 1 < quantizer.num_layers:
      if quantizer.projects:
        book = graph.weight(f"quantizer/table/{layer}", quantizer.table[layer])
      chosen = graph.add("Gather", book, code)
      residual = graph.add("Sub", residual, chosen)
  lengths = graph.add(
    "Gather", graph.add("Shape", latents), graph.constant([0, 3])
  )
  lengths = graph.add(
    "Concat", graph.constant([quantizer.num_layers]), lengths, axis=0
  )
  return graph.add("Reshape", graph.add("Concat", *codes, axis=0), lengths)


def prefix(graph: Graph, codes: str, num_quantizers: str) -> str:
  """Codes [Q, B, F] -> int32 [B, F, q] of the first layers, q an input [1]."""
  bounds = graph.constant([0]), num_quantizers, graph.constant([0])
  codes = graph.add("Slice", codes, *bounds)
  codes = graph.add("Transpose", codes, perm=[1, 2, 0])
  return graph.cast(codes, np.int32)


def dequantize(
  graph: Graph, quantizer: Quantizer, codes: str, layers: str | None = None
) -> str:
  """Adds the sum over layers: codes [B, F, q], any q -> latents [B, F, D].

  Args:
    codes: int32 or int64.
    layers: int32 [B, F], of how many of a frame's layers alone; None is all.
  """
  rows = quantizer.table.reshape(-1, quantizer.dim)
  count = graph.add("Gather", graph.add("Shape", codes), graph.constant(2))
  order = graph.add("Range", graph.constant(0), count, graph.constant(1))
  first = graph.add("Mul", order, graph.constant(quantizer.codebook_size))
  index = graph.add("Add", graph.cast(codes, np.int64), first)
  if layers is not None:
    # What did not arrive reads a row of zeros, whatever its code says.
    layers = graph.add("Unsqueeze", layers, graph.constant([2]))
    arrived = graph.add("Less", order, graph.cast(layers, np.int64))
    index = graph.add("Where", arrived, index, graph.constant(len(rows)))
    rows = np.concatenate([rows, np.zeros_like(rows[:1])])
  chosen = graph.add("Gather", graph.weight("quantizer/table", rows), index)
  return graph.add("ReduceSum", chosen, graph.constant([2]), keepdims=0)


def _smallest_distance(graph, quantizer, layer, entered) -> tuple[str, str]:
  """Returns codes int64 [N] of [N, C], and the name of the codebook."""
  vectors = quantizer.vectors[layer]
  norms = np.asarray(jnp.sum(jnp.square(vectors), axis=-1))
  book = graph.weight(f"quantizer/vectors/{layer}", vectors)
  norms = graph.weight(f"quantizer/norms/{layer}", norms)
  distances = graph.add("Gemm", entered, book, norms, alpha=-2.0, transB=1)
  code = graph.add("ArgMin", distances, axis=1, keepdims=0, select_last_index=0)
  return code, book


def _projected(graph, quantizer, layer, residual) -> str:
  kernel, bias = (
    graph.weight(f"quantizer/{name}/{layer}", quantizer.params[name][layer])
    for name in ("in_kernel", "in_bias")
  )
  return graph.add("Gemm", residual, kernel, bias)


def _low_dim(graph, quantizer, layer, residual) -> tuple[str, str]:
  entered = _projected(graph, quantizer, layer, residual)
  length = graph.add("ReduceL2", entered, axes=[1], keepdims=1)
  shortest = graph.constant(low_dim.SHORTEST, np.float32)
  length = graph.add("Max", length, shortest)
  entered = graph.add("Div", entered, length)
  return _smallest_distance(graph, quantizer, layer, entered)


def _fsq(graph, quantizer, layer, residual) -> tuple[str, str]:
  entered = graph.add("Tanh", _projected(graph, quantizer, layer, residual))
  constant = functools.partial(graph.constant, dtype=np.float32)
  counts = np.asarray(fsq.levels(quantizer.codebook_size))
  steps = graph.add("Add", entered, constant(1))
  steps = graph.add("Mul", steps, constant((counts - 1) / 2))
  steps = graph.add("Max", graph.add("Round", steps), constant(0))
  steps = graph.add("Min", steps, constant(counts - 1))
  weights = [counts[axis + 1 :].prod() for axis in range(len(counts))]
  steps = graph.add("Mul", steps, constant(weights))
  code = graph.add("ReduceSum", steps, graph.constant([1]), keepdims=0)
  return graph.cast(code, np.int64), ""


# Kind -> (graph, quantizer, layer, residual [N, D]) -> codes int64 [N], and the
# name of the codebook where that is what codes stand for.
NEAREST: dict[str, Callable[..., tuple[str, str]]] = {
  "ema": _smallest_distance,
  "low_dim": _low_dim,
  "fsq": _fsq,
}
