"""Concealment of lost frames as ONNX operators: `codec.stream.concealment`.

Its state is three parts of a stream's: the latents that are held [B, D], the
frames lost since [B, 1], and whether any frame arrived [B, 1], as numbers.
"""

import math

import numpy as np

from soundstream_jax.codec.stream import concealment
from soundstream_jax.export.onnx import graph as graph_lib
from soundstream_jax.export.onnx import layers as layers_lib

Graph = graph_lib.Graph


def parts(embedding_dim: int) -> list[int]:
  """Returns the sizes of the parts of the state."""
  return [embedding_dim, 1, 1]


def fill(
  graph: Graph,
  latents: str,
  layers: str,
  past: layers_lib.Kept,
  *,
  frame_rate_hz: float,
  hop_samples: int,
) -> tuple[str, str]:
  """Adds what lost frames sound like.

  Args:
    latents: [B, F, D].
    layers: int32 [B, F]; 0 is a lost frame.
    past: takes the parts of the state, and keeps the next one's.
    frame_rate_hz: F per second.
    hop_samples: of a frame.

  Returns:
    Latents [B, F, D], and the gain of each sample [B, F * hop].
  """
  add = graph.add
  (held, _), (gap, _), (heard, _) = (past.take() for _ in range(3))
  hold, fade = concealment.durations(frame_rate_hz)
  zero, most = _number(graph, 0), _number(graph, hold + fade)

  arrived = graph.cast(
    add("Greater", layers, graph.constant(0, np.int32)), np.float32
  )
  count, newest = _newest(graph, arrived)
  is_new = add("Greater", newest, zero)
  was_heard = add("Greater", heard, zero)
  # Before the first frame that arrives there is nothing to hold: silence.
  lost = add("Where", was_heard, add("Add", gap, count), most)
  lost = add("Where", is_new, add("Sub", count, newest), add("Min", lost, most))
  begins = add("Or", was_heard, graph.slice(is_new, 1, 0, 1))
  before = add("Where", begins, gap, graph.slice(lost, 1, 0, 1))
  gaps = add("Concat", before, lost, axis=1)

  every = add("Unsqueeze", held, graph.constant([1]))
  every = add("Concat", every, latents, axis=1)
  index = add("Unsqueeze", newest, graph.constant([2]))
  index = graph.cast(index, np.int64)
  filled = add("GatherND", every, index, batch_dims=1)

  past.keep(add("Flatten", graph.slice(filled, 1, -1), axis=1))
  past.keep(graph.slice(lost, 1, -1))
  last = graph.slice(newest, 1, -1)
  past.keep(add("Min", add("Add", heard, last), _number(graph, 1)))
  return filled, _gain(graph, gaps, hold, fade, hop_samples)


def _newest(graph: Graph, arrived: str) -> tuple[str, str]:
  """Counts frames from 1 on: [F], and the newest that arrived [B, F], or 0.

  Without a running maximum, which ONNX has not: each frame looks at all.
  """
  add = graph.add
  frames = add("Gather", add("Shape", arrived), graph.constant(1))
  one = graph.constant(1)
  count = add("Range", one, add("Add", frames, one), one)
  count = graph.cast(count, np.float32)
  numbers = add("Mul", arrived, count)
  square = add("Unsqueeze", frames, graph.constant([0]))
  square = add("Concat", square, square, axis=0)
  seen = add("Expand", _number(graph, 1), square)
  seen = add("Trilu", seen, upper=0)
  numbers = add("Unsqueeze", numbers, graph.constant([1]))
  newest = add("Mul", seen, numbers)
  return count, add("ReduceMax", newest, axes=[2], keepdims=0)


def _gain(graph: Graph, gaps: str, hold: int, fade: int, hop: int) -> str:
  """Gaps [B, F + 1] where frames begin and end -> gain [B, F * hop]."""
  add = graph.add
  faded = add("Sub", gaps, _number(graph, hold))
  faded = add("Div", faded, _number(graph, fade))
  faded = add("Clip", faded, _number(graph, 0), _number(graph, 1))
  faded = add("Unsqueeze", faded, graph.constant([2]))
  begin, end = graph.slice(faded, 1, 0, -1), graph.slice(faded, 1, 1)
  time = np.arange(1, hop + 1, dtype=np.float32) / np.float32(hop)
  way = add("Mul", add("Sub", end, begin), graph.weight("gain/time", time))
  way = add("Add", begin, way)
  wave = add("Cos", add("Mul", way, _number(graph, math.pi)))
  half = _number(graph, 0.5)
  gain = add("Add", half, add("Mul", half, wave))
  return add("Flatten", gain, axis=1)


def _number(graph: Graph, value: float) -> str:
  return graph.constant(value, np.float32)
