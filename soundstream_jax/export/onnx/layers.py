"""Layers of the network as ONNX operators, over whole clips or over blocks.

Values are [B, C, 1, T], channels first as ONNX has them, and convolutions of two
axes: onnxruntime computes a block of a frame 1.1 to 1.2 times as fast as with
one. Clips have zeros before them; blocks have the end of the block before.
"""

import math
from collections.abc import Sequence

import numpy as np

from soundstream_jax.convolution import snake
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.export import trace
from soundstream_jax.export.onnx import graph as graph_lib
from soundstream_jax.model import mel_encoder


class Zeros:
  """The past of clips that begin."""

  def before(
    self, graph: graph_lib.Graph, x: str, samples: int
  ) -> tuple[str, int]:
    """Returns x, and how many zeros a convolution has to put before it."""
    del graph
    return x, samples


class Kept:
  """The past of blocks: what each layer keeps, of one array [B, S]."""

  def __init__(self, graph: graph_lib.Graph, state: str, sizes: Sequence[int]):
    """Cuts the state up.

    Args:
      state: name of the input, [B, S].
      sizes: of its parts, in the order in which they are taken.
    """
    parts = graph.add_many(
      "Split", len(sizes), state, graph.constant(sizes), axis=1
    )
    self._parts = list(zip(parts, sizes, strict=True))
    self._new: list[str] = []

  def take(self) -> tuple[str, int]:
    """Returns the next part [B, size], and its size."""
    return self._parts.pop(0)

  def keep(self, part: str) -> None:
    """Adds a part [B, size] of the next state, in the order of `take`."""
    self._new.append(part)

  def before(
    self, graph: graph_lib.Graph, x: str, samples: int
  ) -> tuple[str, int]:
    """Joins x with the samples before it; then nothing is left to pad."""
    if not samples:
      return x, 0
    past, size = self.take()
    past = graph.reshape(past, 0, size // samples, 1, samples)
    x = graph.add("Concat", past, x, axis=3)
    end = graph.slice(x, 3, -samples)
    self.keep(graph.add("Flatten", end, axis=1))
    return x, 0

  def joined(self, graph: graph_lib.Graph) -> str:
    """Returns the next state [B, S]."""
    if self._parts:
      raise ValueError(f"{len(self._parts)} parts of the state were not taken.")
    return graph.add("Concat", *self._new, axis=1)


def pasts(steps: Sequence[trace.Step]) -> list[int]:
  """Returns the sizes of what each layer keeps of the past, in order."""
  sizes = (s.spec.past * s.inputs_channels for s in steps if s.spec)
  return [size for size in sizes if size]


def write(
  graph: graph_lib.Graph,
  steps: Sequence[trace.Step],
  x: str,
  past: Zeros | Kept,
  denoise: str | bool,
) -> str:
  """Adds the layers of a network to a graph.

  Args:
    steps: of `trace`.
    x: its input, [B, C, 1, T].
    past: of clips or of blocks.
    denoise: how FiLM's switch stands, or the name of an input bool [B].

  Returns:
    The network's output, [B, C', 1, T'].
  """
  results = {trace.INPUT: x}
  for index, step in enumerate(steps):
    inputs = [results[i] for i in step.inputs]
    if step.kind == "convolve":
      results[index] = _convolve(graph, step, *inputs, past)
    elif step.kind == "film":
      results[index] = _film(graph, step, *inputs, denoise)
    else:
      results[index] = FUNCTIONS[step.kind](graph, step, *inputs)
  return results[len(steps) - 1]


def _convolve(graph, step, x, past) -> str:
  spec, bias = step.spec, step.arrays["bias"]
  x, zeros = past.before(graph, x, spec.past)
  if spec.transposed:
    if not spec.has_two_taps:
      raise ValueError(f"No kernel of two strides: {spec}.")
    # Two taps that make `stride` samples each, side by side as channels. Faster
    # than ConvTranspose, which makes samples beyond the end.
    kernel = step.arrays["kernel"].reshape(
      2, spec.stride, step.inputs_channels, step.channels
    )
    kernel = kernel[::-1].transpose(0, 2, 1, 3)
    kernel = kernel.reshape(2, step.inputs_channels, -1)
    bias = np.tile(bias, spec.stride)
    y = _convolution(graph, step.path, x, kernel, bias, zeros)
    y = graph.reshape(y, 0, spec.stride, step.channels, -1)
    y = graph.add("Transpose", y, perm=[0, 2, 3, 1])
    return graph.reshape(y, 0, step.channels, 1, -1)
  if not spec.is_causal:
    raise ValueError(f"Not causal: {spec}.")
  return _convolution(
    graph, step.path, x, step.arrays["kernel"], bias, zeros, spec=spec
  )


def _convolution(
  graph: graph_lib.Graph,
  path: str,
  x: str,
  kernel: np.ndarray,
  bias: np.ndarray,
  zeros: int,
  spec: spec_lib.Spec | None = None,
) -> str:
  """Adds Conv with a kernel [k, in, out]; without a spec of stride 1."""
  return graph.add(
    "Conv",
    x,
    graph.weight(f"{path}/kernel", kernel.transpose(2, 1, 0)[:, :, None]),
    graph.weight(f"{path}/bias", bias),
    kernel_shape=[1, len(kernel)],
    strides=[1, spec.stride if spec else 1],
    dilations=[1, spec.dilation if spec else 1],
    pads=[0, zeros, 0, 0],
  )


def _film(graph, step, x, denoise) -> str:
  scale, shift = (
    step.arrays[name][:, :, None, None] for name in ("scale", "shift")
  )
  if isinstance(denoise, bool):
    row = slice(int(denoise), int(denoise) + 1)
    scale = graph.weight(f"{step.path}/scale", scale[row])
    shift = graph.weight(f"{step.path}/shift", shift[row])
  else:
    row = graph.cast(denoise, np.int64)
    scale = graph.weight(f"{step.path}/scale", scale)
    shift = graph.weight(f"{step.path}/shift", shift)
    scale = graph.add("Gather", scale, row)
    shift = graph.add("Gather", shift, row)
  return graph.add("Add", graph.add("Mul", scale, x), shift)


def _snake(graph, step, x) -> str:
  alpha = step.arrays["alpha"][:, None, None]
  small = np.abs(alpha) < snake.SMALLEST
  once = 1 / np.where(small, np.float32(snake.SMALLEST), alpha)
  alpha = graph.weight(f"{step.path}/alpha", alpha)
  once = graph.weight(f"{step.path}/reciprocal", once)
  sine = graph.add("Sin", graph.add("Mul", alpha, x))
  ripple = graph.add("Mul", graph.add("Mul", sine, sine), once)
  return graph.add("Add", x, ripple)


def _scaled_log(graph, step, x) -> str:
  del step
  middle = 0.5 * math.log(mel_encoder.POWER_FLOOR)
  factor = mel_encoder.LARGEST / -middle
  x = graph.add("Sub", graph.add("Log", x), graph.constant(middle, np.float32))
  return graph.add("Mul", x, graph.constant(factor, np.float32))


# Of the kinds of steps that have neither past nor switch.
FUNCTIONS = {
  "elu": lambda graph, step, x: graph.add("Elu", x),
  "add": lambda graph, step, *both: graph.add("Add", *both),
  "square": lambda graph, step, x: graph.add("Mul", x, x),
  "snake": _snake,
  "scaled_log": _scaled_log,
}
